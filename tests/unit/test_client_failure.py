"""The exceptions that a failed job raises."""

from __future__ import annotations

import dataclasses
import pickle
import sys
import traceback
from typing import Any

import pytest

from headrace.client.failure import exception_for
from headrace.errors import HeadraceError, JobCancelled, JobFailed, TaskFailed
from headrace_schemas import Ended, TaskError

REMOTE = 'Traceback (most recent call last):\n  File "model.py", line 3, in step\nValueError: too hot\n'


def ended(state: str = "failed", reason: str = "", error: TaskError | None = None) -> Ended:
    return Ended(at=1, term=1, job="j1", state=state, reason=reason, error=error)


def task_error(pickled: bytes = b"", reason: str = "raised") -> TaskError:
    return TaskError(
        task=3,
        name="step-3",
        inputs=["load-0", "mean"],
        error="ValueError: too hot",
        traceback=REMOTE,
        pickled=pickled,
        reason=reason,
        pid=7,
    )


def raised(error: HeadraceError | None) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        raise error or AssertionError("no error")
    return caught.value


def test_a_done_job_raises_nothing() -> None:
    assert exception_for(ended("done")) is None


def test_a_failed_task_names_itself_and_its_inputs_and_has_the_original_as_its_cause() -> None:
    failure = raised(exception_for(ended(error=task_error(pickle.dumps(ValueError("too hot"))))))
    assert (failure.task, failure.inputs, failure.remote_traceback) == ("step-3", ("load-0", "mean"), REMOTE)
    assert str(failure) == "task 'step-3' failed: ValueError: too hot; its inputs: load-0, mean"
    assert isinstance(failure.__cause__, ValueError)


def test_the_remote_traceback_is_printed_once_with_and_without_the_original() -> None:
    for pickled in (pickle.dumps(ValueError("too hot")), b"", b"no pickle"):
        failure = raised(exception_for(ended(error=task_error(pickled))))
        printed = "".join(traceback.format_exception(failure))
        assert printed.count('File "model.py", line 3, in step') == 1


def test_a_death_is_told_from_an_exception() -> None:
    failure = raised(exception_for(ended(error=task_error(reason="runner_died"))))
    assert "step-3' failed (runner died)" in str(failure)


def test_a_pickle_that_is_no_exception_is_not_a_cause() -> None:
    assert raised(exception_for(ended(error=task_error(pickle.dumps("text"))))).__cause__ is None


def test_a_cancelled_job_says_why() -> None:
    error = exception_for(ended("cancelled", reason="too slow"))
    assert isinstance(error, JobCancelled)
    assert "too slow" in str(error)


def test_a_job_that_failed_before_any_task_says_why() -> None:
    error = exception_for(ended(reason="its graph cannot be read"))
    assert type(error) is JobFailed
    assert "its graph cannot be read" in str(error)


def test_the_failure_can_be_pickled() -> None:
    failure = raised(exception_for(ended(error=task_error())))
    copy = pickle.loads(pickle.dumps(failure))
    assert (str(copy), copy.task, copy.remote_traceback) == (str(failure), failure.task, failure.remote_traceback)


class Stubborn(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("not here")


def test_an_original_that_cannot_be_made_again_is_said_to_be_missing() -> None:
    for pickled, why in ((pickle.dumps(Stubborn()), r"could not be unpickled here (RuntimeError: not here)"), (b"", "could not be sent")):
        failure = raised(exception_for(ended(error=task_error(pickled))))
        assert failure.__cause__ is None
        assert any(why in note for note in failure.__notes__)
    died = raised(exception_for(ended(error=task_error(reason="runner_died"))))
    assert not any("original" in note for note in died.__notes__)


def test_inputs_are_left_out_where_there_are_none() -> None:
    assert str(TaskFailed("a", "ValueError: b")) == "task 'a' failed: ValueError: b"


def test_errors_of_ours_are_named_without_their_module() -> None:
    error = task_error(reason="bad_output")
    error.error = "headrace.runner.failures.BadOutput: yielded headrace.worker.x"
    error.traceback = "Traceback (most recent call last):\n  headrace.client.job\nheadrace.errors.GraphError: b\n"
    failure = raised(exception_for(ended(error=error)))
    assert failure.error == "BadOutput: yielded headrace.worker.x"
    assert failure.remote_traceback == "Traceback (most recent call last):\n  headrace.client.job\nGraphError: b\n"


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    step: int


def test_the_traceback_is_told_also_of_an_original_that_takes_no_note() -> None:
    odd = ValueError("noted")
    odd.__notes__ = 5  # type: ignore[assignment]
    for original in (odd, Frozen(6)):
        failure = raised(exception_for(ended(error=task_error(pickle.dumps(original)))))
        assert "in step" in "".join(failure.__notes__)


class Ends(Exception):
    def __reduce__(self) -> Any:
        return sys.exit, ("read",)


def test_an_original_that_ends_its_reader_is_told_as_text() -> None:
    failure = raised(exception_for(ended(error=task_error(pickle.dumps(Ends())))))
    assert failure.__cause__ is None
    assert "could not be unpickled here (SystemExit: read)" in failure.__notes__[0]
