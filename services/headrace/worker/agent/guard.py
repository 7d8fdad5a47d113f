"""What becomes of an exception that the state machine raises on an event: the one place where that is decided.

The host goes on. The event is logged with the traceback, and counted; the job that it concerns, if that can be known, fails with an error
that says so, for what the machine knows of it may be wrong from here on. Where nothing succeeds any more between such exceptions, the
machine cannot be trusted: it is `broken`, and the host begins anew under another epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from headrace.logs import get_log

log = get_log(__name__)


class MachineBroken(Exception):
    """The host's state machine fails at whatever it does: the host is to begin anew."""


class Caught(Exception):
    """The machine raised an exception, which the guard has caught: whoever sent the event is to end."""


FailJob = Callable[[str, str], None]


class Guard:
    """Catches what the state machine raises. fail_job(job, error): have a job fail with an internal error.

    most_in_a_row: see `Settings.failures_in_a_row`. raises: pass every exception on, as tests want it. failures: events that raised, by
    kind.
    """

    def __init__(self, fail_job: FailJob, most_in_a_row: int, raises: bool = False) -> None:
        self.failures: Counter[str] = Counter()
        self.in_a_row: Counter[str] = Counter()
        """Of those that concern no job: how many raised since one succeeded."""
        self._fail_job = fail_job
        self._most_in_a_row = most_in_a_row
        self._raises = raises

    @property
    def broken(self) -> bool:
        """Whether the state machine fails at whatever it does."""
        return max(self.in_a_row.values(), default=0) >= self._most_in_a_row

    def succeeded(self, kind: str) -> None:
        """An event of this kind raised nothing."""
        self.in_a_row.pop(kind, None)

    def caught(self, kind: str, error: Exception, job: str = "", event: object = None) -> None:
        """The machine raised an exception on an event of this kind. To be called while the exception is handled.

        job: the one that the event concerns; empty if it concerns none, or if that is not known.
        """
        if self._raises:
            raise error
        self.failures[kind] += 1
        log.exception("the host's state machine failed on an event", kind=kind, job=job, about=repr(event)[:2000])
        if not job:
            self.in_a_row[kind] += 1
            return
        text = f"internal error of a host ({kind}): {type(error).__name__}: {error}. The host's log has the traceback; please report it"
        try:
            self._fail_job(job, text)
        except Exception:
            log.exception("nor can the job be failed", job=job)
