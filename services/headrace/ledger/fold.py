"""The fold of the log's entries, in their order, into jobs and hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, Protocol, get_args

from msgspec.structs import replace

from headrace.ledger import orders
from headrace.ledger.facts import fold_events
from headrace.ledger.hosts import Hosts
from headrace.ledger.job import JobLedger
from headrace.ledger.possible import CHECKS
from headrace.ledger.returns import Returns, spare
from headrace.ledger.turns import Turned, Turns
from headrace_schemas import (
    Assign,
    CancelAsked,
    Due,
    Ended,
    Events,
    HostJoined,
    HostLost,
    LogMessage,
    Needed,
    NoRoom,
    Plan,
    Published,
    Purge,
    Refused,
    Released,
    Reroute,
    Revoke,
    Stranded,
    Submitted,
    TermBegan,
)

CONTROLLER: Final = "controller"
SCHEDULER: Final = "scheduler"
FORGOTTEN_REMEMBERED = 2_000
"""The number of forgotten jobs whose ids are still remembered, so that a repeated submission of one is ignored."""
WRITERS: dict[type[Any], Literal["controller", "scheduler"]] = {
    Needed: CONTROLLER,
    Purge: CONTROLLER,
    Ended: CONTROLLER,
    Plan: SCHEDULER,
    Assign: SCHEDULER,
    Revoke: SCHEDULER,
    Reroute: SCHEDULER,
}
"""The service that writes each type of decision. The fold ignores a decision if a later term of the same service has begun before it.

Other messages count whatever their term is. What the controller only records (hosts that join or are lost, requests of clients) is true
whichever controller wrote it. A `Published` is the commit point itself, and the stream accepts it only from a publisher that knows the one
before.
"""


JobDecision = Needed | Purge | Ended | Plan | Assign | Revoke | Reroute
"""The messages of `WRITERS`."""
Order = JobDecision | Due | CancelAsked | Refused | Released | Stranded | NoRoom | Published
"""The messages about a job other than its submission and the reports of hosts."""


class LogEntry(Protocol):
    """A message with its place in the log, such as `bus.Entry`."""

    @property
    def seq(self) -> int:
        """The sequence of the message in the stream."""

    @property
    def time(self) -> float:
        """The time at which the server stored the message, in seconds since 1970."""

    @property
    def message(self) -> LogMessage:
        """The decoded message."""


class Ledger:
    """The state of all jobs and hosts after the entries folded so far. Entries up to `last_seq` are ignored, so a feed may restart early.

    keep_values: whether to keep small output values, and dtypes and shapes of arrays; client and publisher need them.
    reads_own: whether the reader's own decisions come back to it in the log, see `snapshot`.
    jobs, hosts: by name. last_seq, last_time: sequence, and time in seconds since 1970, of the last folded entry.
    changed: the jobs that changed since the last `take_changed`. impossible: the number of entries ignored because they do not fit their
    job. turns: the folded messages that changed more than one job. forgotten: the ids of jobs forgotten last, the latest at the end.
    returns: the datasets of hosts that have not rejoined yet. unclaimed: datasets that a rejoined host holds of jobs that are unknown,
    failed or cancelled, as the last such entry listed them.
    """

    def __init__(self, *, keep_values: bool = False, reads_own: bool = False) -> None:
        self.keep_values = keep_values
        self.reads_own = reads_own
        self.jobs: dict[str, JobLedger] = {}
        self.hosts = Hosts()
        self.last_seq = self.impossible = 0
        self.last_time = 0.0
        self.terms = dict[str, int].fromkeys((CONTROLLER, SCHEDULER), 0)
        self.changed: dict[str, JobLedger] = {}
        self.turns = Turns()
        self.forgotten: dict[str, None] = {}
        self.unclaimed: list[Events] = []
        self.returns = Returns()

    def fold(self, entry: LogEntry) -> None:
        """Fold one entry."""
        if entry.seq > self.last_seq:
            self.last_seq, self.last_time = entry.seq, entry.time
            message = entry.message
            _FOLDS[type(message)](self, message, entry.time)

    def apply(self, message: LogMessage, time: float) -> None:
        """Fold a message that the reader itself decided, before it is read back from the log. time: seconds since 1970."""
        _FOLDS[type(message)](self, message, time)

    def read_back(self, seq: int, time: float, message: JobDecision) -> None:
        """Note the place in the log of a message that was folded with `apply` when it was decided. time: seconds since 1970."""
        if seq <= self.last_seq:
            return
        self.last_seq, self.last_time = seq, time
        job = self.jobs.get(message.job)
        if job is not None:
            job.last_seq = seq

    def knows(self, job: str) -> bool:
        """Whether a job of this id was submitted. Recently forgotten jobs are known, too."""
        return job in self.jobs or job in self.forgotten

    def forget_job(self, job: str) -> None:
        """Drop a job that is over from memory. Later messages about it are ignored."""
        if self.jobs.pop(job, None) is not None:
            self._remember_forgotten(job)
        self.changed.pop(job, None)

    def remember_forgotten(self, jobs: Iterable[str]) -> None:
        """Ignore later submissions of these jobs."""
        for job in jobs:
            self._remember_forgotten(job)

    def _remember_forgotten(self, job: str) -> None:
        self.forgotten[job] = None
        if len(self.forgotten) > FORGOTTEN_REMEMBERED:
            del self.forgotten[next(iter(self.forgotten))]

    def take_changed(self) -> list[JobLedger]:
        """Return the jobs that changed since the last call, in the order of their ids."""
        changed, self.changed = self.changed, {}
        return [changed[name] for name in sorted(changed)]

    def take_unclaimed(self) -> list[Events]:
        """Return `unclaimed`, and empty it."""
        unclaimed, self.unclaimed = self.unclaimed, []
        return unclaimed

    def _decided(self, message: JobDecision, time: float) -> None:
        """Fold a decision, unless a later term of the same service has begun."""
        writer, term = WRITERS[type(message)], message.term
        known = self.terms[writer]
        if term > known:  # an older release does not write `TermBegan`
            self._term_began(TermBegan(at=message.at, term=term, service=writer), time)
        if term >= known:
            self._order(message, time)

    def _term_began(self, message: TermBegan, time: float) -> None:
        """From here on, ignore decisions of earlier terms of the service."""
        if message.term > self.terms[message.service]:
            self.terms[message.service] = message.term
            self._turned(self.last_seq, time, message)

    def _turned(self, seq: int, time: float, message: Turned) -> None:
        if self.turns.note_turn(seq, time, message):
            self.turns.drop(min((job.seq for job in self.jobs.values()), default=seq))

    def _is_possible(self, job: JobLedger, message: LogMessage) -> bool:
        check = CHECKS.get(type(message))
        possible = check is None or check(job, message)
        self.impossible += not possible
        return possible

    def _submitted(self, message: Submitted, time: float) -> None:
        if not self.knows(message.job):
            job = JobLedger(message, time, keep_values=self.keep_values)
            job.seq = job.last_seq = self.last_seq
            self.jobs[message.job] = self.changed[message.job] = job

    def _events(self, events: Events, _time: float) -> None:
        job = self.jobs.get(events.job)
        if events.rejoining and self._is_ahead(events):
            self.returns.add_events(self.last_seq, self.last_time, events)
            if job is not None:
                job.last_seq = self.last_seq
        elif self._counts(events.host, events.epoch):
            if job is not None and (job.end is None or not job.over) and self._is_possible(job, events):
                self.changed[job.job] = job
                job.last_seq = self.last_seq
                fold_events(job, events)
            elif events.rejoining and events.produced:
                self.unclaimed = [events]

    def _is_ahead(self, events: Events) -> bool:
        """Whether a host lists its datasets under an epoch in which it has not joined yet.

        That includes a host whose `HostJoined` was not read: the list of an epoch precedes its `HostJoined`, and the loss of the epoch
        before may stand between them.
        """
        known = self.hosts.get(events.host)
        return known is None or events.epoch > known.epoch

    def _counts(self, host: str, epoch: int) -> bool:
        """Whether messages from or to a host in this epoch count.

        If the host's `HostJoined` was not read, and the epoch is a new one, everything that the host held and ran before is lost.
        """
        if host not in self.hosts and self.hosts.note_epoch(host, epoch):
            self._lose(host, "it started anew")
        return self.hosts.counts(host, epoch)

    def _host(self, message: HostJoined | HostLost, time: float) -> None:
        returned = self.returns.take_events(message.host, message.epoch)
        if isinstance(message, HostLost):
            self._turned(self.last_seq, time, message)
            if self.hosts.fold_lost(message):
                self._lose(message.host, message.reason)
            return
        rejoins = message.rejoins or bool(returned)
        # The turn must say that the host rejoined: a service that starts from a snapshot does not read its lists for forgotten jobs.
        self._turned(self.last_seq, time, message if rejoins == message.rejoins else replace(message, rejoins=True))
        if self.hosts.fold_joined(message, time):
            self._lose(message.host, "it lost its lease" if rejoins else "it started anew")
        if rejoins:
            for job in self.jobs.values():
                orders.fold_host_returned(job, message.host)
        if returned:
            self._bring_back(returned)

    def _lose(self, host: str, reason: str) -> None:
        for job in self.jobs.values():
            index = job.host_ids.get(host)
            if index is not None and not job.over:
                self.changed[job.job] = job
                orders.fold_host_lost(job, index, reason)

    def _bring_back(self, returned: list[Events]) -> None:
        unclaimed: list[Events] = []
        for events in returned:
            self.unclaimed = []
            self._events(events, self.last_time)
            unclaimed += self.unclaimed
        self.unclaimed = unclaimed
        for name in {events.job for events in returned}:
            job = self.jobs.get(name)
            if job is not None and not job.over:
                job.returned_at = self.last_seq
                self.changed[name] = job
                spare(job)

    def _order(self, message: Order, time: float) -> None:
        job = self.jobs.get(message.job)
        if job is None or (job.end is not None and job.over) or not self._is_possible(job, message):
            return
        self.changed[job.job] = job
        job.last_seq = self.last_seq
        fold = _ORDERS.get(type(message))
        if fold is not None:
            fold(self, job, message, time)

    def _assign(self, job: JobLedger, assign: Assign, _time: float) -> None:
        orders.fold_assign(job, assign, self._counts(assign.host, assign.epoch))

    def _purge(self, job: JobLedger, purge: Purge, _time: float) -> None:
        if self._counts(purge.host, purge.epoch):
            orders.fold_purge(job, purge)

    def _needed(self, job: JobLedger, needed: Needed, _time: float) -> None:
        orders.fold_needed(job, needed)
        if needed.at < job.returned_at:  # decided before the host rejoined
            spare(job)


def _without(fold: Callable[[JobLedger, Any], None]) -> Callable[[Ledger, JobLedger, Any, float], None]:
    """Adapt a function that changes a job only to the signature in `_ORDERS`."""
    return lambda _ledger, job, message, _time: fold(job, message)


_FOLDS: dict[type[Any], Callable[[Ledger, Any, float], None]] = {
    Events: Ledger._events,
    HostJoined: Ledger._host,
    HostLost: Ledger._host,
    Submitted: Ledger._submitted,
    TermBegan: Ledger._term_began,
    **dict.fromkeys(get_args(Order), Ledger._order),
    **dict.fromkeys(WRITERS, Ledger._decided),
}
"""The function that folds each type of message. The time is in seconds since 1970."""


_ORDERS: dict[type[Any], Callable[[Ledger, JobLedger, Any, float], None]] = {
    Assign: Ledger._assign,
    Purge: Ledger._purge,
    Needed: Ledger._needed,
    Ended: lambda _ledger, job, ended, time: orders.fold_ended(job, ended, time),
    Plan: _without(orders.fold_plan),
    Revoke: _without(orders.fold_revoke),
    Due: _without(orders.fold_due),
    CancelAsked: _without(orders.fold_cancel_asked),
    Refused: _without(orders.fold_refused),
    Released: _without(orders.fold_released),
    Published: _without(orders.fold_published),
}
"""The function that folds each type of order into a job.

Reroute, Stranded and NoRoom are missing: a reroute only changes which host another one fetches from, and the controller decides what
follows from the others.
"""
