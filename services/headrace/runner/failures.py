"""Turns what a task raises into the failure that its host reports.

A task's function, its arguments, its result and the exception itself belong to the user. To import, unpickle, call, pickle or print them
can raise anything, even `SystemExit`. `describe` therefore never raises.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, cast

from headrace.errors import FunctionNotFound, GraphError, HeadraceError
from headrace.graph.naming import task_name
from headrace.pickling import by_value
from headrace_schemas import TaskError

if TYPE_CHECKING:
    from headrace.runner.job import RunnerJob

ERROR_CHARACTERS, TRACEBACK_CHARACTERS = 2_000, 32_000
"""Longest error and longest traceback of a failure, which travels in a message and is read by a person."""
EXCEPTION_BYTES = 64 * 1024
"""Size of the largest pickled exception that is sent. The text of a larger one is sent without it."""

_OWN_FILES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_IMPORT_FILES = ("<frozen importlib", os.sep + os.path.join("importlib", "__init__.py"))


class BadOutput(HeadraceError):
    """A task returned or yielded another number of outputs than its node was declared with."""


class StoreTooSmall(HeadraceError, MemoryError):
    """A result is too large for the store of its host, even if everything else were purged."""


class AgentGone(SystemExit):
    """The agent closed the runner's socket, or died. The runner ends; the task that is executed does not fail."""

    def __init__(self) -> None:
        super().__init__(0)


class JobClosed(BaseException):
    """The agent closed the job of the task that is executed, while the runner waited for room. The rest of the segment is dropped."""


class TaskFailure(BaseException):
    """A failure with its `reason`. Ends a segment. `doing` says in which step the error was raised, if the traceback does not show it."""

    def __init__(self, error: BaseException, reason: str = "raised", doing: str = "") -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason
        self.doing = doing

    def forget(self) -> None:
        """Drop the stack frames that the failure passed through, with the objects in their variables."""
        BaseException.with_traceback(self.error, None)
        self.__traceback__ = self.__context__ = None
        del self.error  # its causes' tracebacks hold frames, which may hold this failure


def failure_of(error: BaseException) -> TaskFailure | None:
    """Return the failure of a task that raised `error`; None if its job was closed. Raises AgentGone, which is no failure of a task."""
    kind = type(error)
    if issubclass(kind, AgentGone):
        raise error
    if issubclass(kind, JobClosed):
        return None
    if issubclass(kind, TaskFailure):
        return cast(TaskFailure, error)
    return TaskFailure(error, "bad_output" if issubclass(kind, GraphError) else "raised")


def loading_failure(error: BaseException, doing: str) -> TaskFailure:
    """Return the failure of a task whose inputs or arguments cannot be unpickled. doing: the step that failed."""
    return TaskFailure(error, "import_failed" if issubclass(type(error), ImportError) else "raised", doing)


def describe(job: RunnerJob, task: int, attempt: int, failure: TaskFailure) -> TaskError:
    """Return the failure as the host reports it. Its traceback begins in the user's code: the runner's own frames are left out."""
    error, reason = failure.error, failure.reason
    kind = type(error)
    job.show_sources()
    line, text = _line(error), _text(error, _of_the_user(error.__traceback__))
    if issubclass(kind, BadOutput | StoreTooSmall):
        line = str(error)
    if failure.doing:
        line, text = f"{line}\n{failure.doing}", f"{text.rstrip()}\n{failure.doing}\n"
    return TaskError(
        task=task,
        attempt=attempt,
        reason="import_failed" if issubclass(kind, FunctionNotFound) else reason,
        name=task_name(job.spec, task),
        inputs=job.input_names(task),
        error=_short(line, ERROR_CHARACTERS),
        traceback=_short(text, TRACEBACK_CHARACTERS),
        pickled=_pickled(error),
        pid=os.getpid(),
    )


def _line(error: BaseException) -> str:
    """Return the error's type and message."""
    return _first(
        lambda: "".join(traceback.format_exception_only(type(error), error)).strip(),
        lambda: f"{type(error).__module__}.{type(error).__qualname__}: {_args(error)}",
        lambda: "an exception that cannot be printed",
    )


def _args(error: BaseException) -> str:
    """Return the message of an exception whose own `__str__` raises."""
    return _first(lambda: BaseException.__str__(error), lambda: "an exception that cannot be printed")


def _text(error: BaseException, trace: TracebackType | None) -> str:
    """Return the error's traceback, with those of its causes."""
    return _first(
        lambda: "".join(traceback.format_exception(type(error), error, trace)),
        lambda: "Traceback (most recent call last):\n" + "".join(traceback.format_tb(trace)) + _line(error) + "\n",
        lambda: _line(error) + "\n",
    )


def _first(*ways: Callable[[], str]) -> str:
    """Return the result of the first way that does not raise. The last way must not."""
    for way in ways[:-1]:
        try:
            return way()
        except BaseException:  # a user's __str__, __notes__ or module loader may raise anything; the next way says less
            continue
    return ways[-1]()


def _of_the_user(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame that is neither Headrace's nor the import system's, or from the last frame."""
    while trace is not None and trace.tb_next is not None and _is_own(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_own(file: str) -> bool:
    return file.startswith((_OWN_FILES, _IMPORT_FILES[0])) or file.endswith(_IMPORT_FILES[1])


def _pickled(error: BaseException) -> bytes:
    """Return the exception without its traceback, for the client. Empty if it cannot be pickled or is too large."""
    try:
        BaseException.with_traceback(error, None)
        pickled = by_value.dumps(error)
    except BaseException:  # its __reduce__ may raise anything; its text is sent
        return b""
    return pickled if len(pickled) <= EXCEPTION_BYTES else b""


def _short(text: str, limit: int) -> str:
    """Return the beginning and the end of a text that is longer than the limit. Lone surrogates are escaped."""
    text = text.encode("utf-8", "backslashreplace").decode()
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} [... {len(text) - limit} characters left out ...] {text[-half:]}"
