"""Converts the message that ended a job to the exception that its user sees."""

from __future__ import annotations

import pickle
import re

from headrace.errors import HeadraceError, JobCancelled, JobFailed, TaskFailed
from headrace_schemas import Ended, TaskError

_OWN_MODULE = re.compile(r"^headrace(?:\.\w+)+\.(?=[A-Z]\w*(?::|$))", re.MULTILINE)
"""The module before the name of one of our own errors in a traceback; it is removed."""


def exception_for(ended: Ended) -> HeadraceError | None:
    """Return the exception that waiting for the results of this job raises; None if the job is done."""
    if ended.state == "done":
        return None
    if ended.state == "cancelled":
        return JobCancelled(f"job {ended.job} was cancelled" + (f": {ended.reason}" if ended.reason else ""))
    if ended.error is None:
        return JobFailed(f"job {ended.job} failed: {ended.reason or 'without a reason'}")
    return task_failed(ended.error)


def task_failed(error: TaskError) -> TaskFailed:
    """Return the failure of one task. Its cause is the original exception, if it was sent and can be unpickled here.

    This unpickles: the error is from an authenticated host of the user's own job.
    """
    traceback = without_modules(error.traceback)
    failure = TaskFailed(error.name, without_modules(error.error), tuple(error.inputs), traceback, error.reason)
    original, why_not = _original(error)
    if why_not:
        failure.add_note(why_not)
    note = f"On the runner (process {error.pid}):\n{traceback}" if traceback else ""
    if note:
        _add_note(failure, original, note)
    failure.__cause__ = original
    return failure


def _add_note(failure: TaskFailed, original: BaseException | None, note: str) -> None:
    """Add a note where it is printed once: to the original, or to the failure if the original accepts none."""
    if original is not None:
        try:
            BaseException.add_note(original, note)
            return
        except Exception:  # its notes are not a list, or it allows no attributes
            pass
    failure.add_note(note)


def said(problem: BaseException) -> str:
    """Return type and message of an exception, whatever its class."""
    try:
        return f"{type(problem).__name__}: {problem}"
    except BaseException:  # its own __str__ raises
        return type(problem).__name__


def without_modules(text: str) -> str:
    """Remove the modules of our own errors from an error's text or traceback.

    >>> without_modules("headrace.runner.failures.BadOutput: too few")
    'BadOutput: too few'
    """
    return _OWN_MODULE.sub("", text)


def _original(error: TaskError) -> tuple[BaseException | None, str]:
    """Return the exception that was raised on the runner, or why it is missing although one was raised."""
    if not error.pickled:
        unsent = "The original exception could not be sent (it cannot be pickled, or is too large), so only its text is shown."
        return None, unsent if error.reason == "raised" else ""
    try:
        value = pickle.loads(error.pickled)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # whatever a class of the user's may raise, SystemExit too: its text travelled
        return None, f"The original exception could not be unpickled here ({said(problem)}), so only its text is shown."
    if not issubclass(type(value), BaseException):
        return None, f"The task's exception could not be unpickled (it became a {type(value).__name__}), so only its text is shown."
    return value, ""
