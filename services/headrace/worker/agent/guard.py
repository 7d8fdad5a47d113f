"""The handling of exceptions that the agent's state machine raises.

The host goes on. The guard logs the event with the traceback, and counts it. It fails the job that the event concerns, if the event names
one, because the machine's state of that job may be wrong from here on. If no event succeeds between many such exceptions, the machine is
`broken`, and the host begins anew under another epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from headrace.logs import get_log

log = get_log(__name__)


class MachineBroken(Exception):
    """The host's state machine raised too many exceptions in a row, so the host must begin anew."""


class Caught(Exception):
    """The machine raised an exception and the guard caught it. The service must end the sender of the event."""


FailJob = Callable[[str, str], None]


class Guard:
    """Catches exceptions of the state machine. fail_job(job, error): fails a job with an internal error.

    most_in_a_row: see `Settings.failures_in_a_row`. raises: raise every exception again, for tests. failures: the number of events that
    raised, by kind.
    """

    def __init__(self, fail_job: FailJob, most_in_a_row: int, raises: bool = False) -> None:
        self.failures: Counter[str] = Counter()
        self.in_a_row: Counter[str] = Counter()
        """Of the events that concern no job, the number that raised since one of the same kind succeeded, by kind."""
        self._fail_job = fail_job
        self._most_in_a_row = most_in_a_row
        self._raises = raises

    @property
    def broken(self) -> bool:
        """Whether the state machine has raised too many exceptions in a row."""
        return max(self.in_a_row.values(), default=0) >= self._most_in_a_row

    def succeeded(self, kind: str) -> None:
        """Note that an event of this kind raised nothing."""
        self.in_a_row.pop(kind, None)

    def caught(self, kind: str, error: Exception, job: str = "", event: object = None) -> None:
        """Handle an exception that the machine raised on an event. Must be called from the `except` block.

        job: the job that the event concerns; empty if there is none, or if it is not known.
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
            log.exception("the host's state machine could not fail the job either", job=job)
