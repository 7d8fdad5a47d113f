"""What a failed job raises."""

from __future__ import annotations

import pickle
import traceback

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
