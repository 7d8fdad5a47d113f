"""From the message that ended a job to the exception that its user sees."""

from __future__ import annotations

import pickle

from headrace.errors import HeadraceError, JobCancelled, JobFailed, TaskFailed
from headrace_schemas import Ended, TaskError


def exception_for(ended: Ended) -> HeadraceError | None:
    """What waiting for the results of this job raises; None if it is done."""
    if ended.state == "done":
        return None
    if ended.state == "cancelled":
        return JobCancelled(f"job {ended.job} was cancelled" + (f": {ended.reason}" if ended.reason else ""))
    if ended.error is None:
        return JobFailed(f"job {ended.job} failed: {ended.reason or 'no reason was given'}")
    return task_failed(ended.error)


def task_failed(error: TaskError) -> TaskFailed:
    """The failure of one task. Its cause is the original exception, if it came along and can be made here.

    It unpickles: the error is from an authenticated host of the user's own job.
    """
    failure = TaskFailed(error.name, error.error, tuple(error.inputs), error.traceback, error.reason)
    original = _original(error.pickled)
    note = f"On the runner (process {error.pid}):\n{error.traceback}" if error.traceback else ""
    if note:
        (failure if original is None else original).add_note(note)
    failure.__cause__ = original
    return failure


def _original(pickled: bytes) -> BaseException | None:
    if not pickled:
        return None
    try:
        value = pickle.loads(pickled)
    except Exception:  # whatever a class of the user's may raise: its text travelled too
        return None
    return value if isinstance(value, BaseException) else None
