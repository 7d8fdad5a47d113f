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


FailJob = Callable[[str, str], None]


class Guard:
    """Tells the state machine of events, whatever that raises. fail_job(job, error): have a job fail with an internal error.

    most_in_a_row: see `Settings.failures_in_a_row`. failures: events that raised, by kind.
    """

    def __init__(self, fail_job: FailJob, most_in_a_row: int) -> None:
        self.failures: Counter[str] = Counter()
        self.in_a_row: Counter[str] = Counter()
        """Of those that concern no job: how many raised since one succeeded."""
        self._fail_job = fail_job
        self._most_in_a_row = most_in_a_row

    @property
    def broken(self) -> bool:
        """Whether the state machine fails at whatever it does."""
        return max(self.in_a_row.values(), default=0) >= self._most_in_a_row

    def tell(self, kind: str, told: Callable[[], None], job: str = "", event: object = None) -> None:
        """Call `told`, which tells the machine of an event of this kind. job: that it concerns; empty if it is none or not known."""
        try:
            told()
        except Exception as error:
            self.caught(kind, error, job, event)
        else:
            self.succeeded(kind)

    def succeeded(self, kind: str) -> None:
        """An event of this kind raised nothing."""
        self.in_a_row.pop(kind, None)

    def caught(self, kind: str, error: Exception, job: str = "", event: object = None) -> None:
        """The machine raised an exception on an event. To be called while it is handled."""
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
