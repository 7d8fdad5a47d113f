"""The fold of the log: every entry in its order, into jobs and hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, get_args

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
    Decision,
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
)

CONTROLLER, SCHEDULER = "controller", "scheduler"
FORGOTTEN_REMEMBERED = 2_000
"""Forgotten jobs that are still recognised: another submission of one of them counts for nothing."""
WRITERS: dict[type[Any], str] = {
    Needed: CONTROLLER,
    Purge: CONTROLLER,
    Ended: CONTROLLER,
    Plan: SCHEDULER,
    Assign: SCHEDULER,
    Revoke: SCHEDULER,
    Reroute: SCHEDULER,
}
"""Who decides on what. A decision of an older term than one of the same service that was seen before is ignored. What the controller only
writes down (hosts that come and go, requests of clients) stays true whoever wrote it, and is not in here. Nor is what was
published: the announcement is the commit point, and the stream takes one only from a publisher that knows the one before."""


JobDecision = Needed | Purge | Ended | Plan | Assign | Revoke | Reroute
"""The messages of `WRITERS`."""
Order = JobDecision | Due | CancelAsked | Refused | Released | Stranded | NoRoom | Published
"""The messages about one job that follow its submission and are no reports of a host."""


class LogEntry(Protocol):
    """A message of the log with its place in it. `bus.Entry` is one."""

    @property
    def seq(self) -> int:
        """Its sequence in the stream."""

    @property
    def time(self) -> float:
        """When the server took it: seconds since the epoch."""

    @property
    def message(self) -> LogMessage:
        """What it says."""


class Ledger:
    """What is true of all jobs and hosts, given the log so far.

    keep_values: keep what events say of the values of outputs (for client and publisher): small values themselves, and what arrays are.
    jobs, hosts: by name. last_seq, last_time: of the last entry folded. changed: the jobs that an entry was folded for since
    `take_changed`. impossible: entries passed over, for they cannot be said of their job.
    turns: what was folded that changes more than one job. forgotten: the jobs that were forgotten last, the latest at the end.
    reads_own: whether what its reader decided comes back to it in the log, see `snapshot`.
    unclaimed: what a host that joined again holds of jobs that are not known, or failed or were cancelled; of the last entry that there was
    such of. returns: what hosts that have not joined again yet hold.
    An entry at or before `last_seq` is ignored, so a feed may begin again anywhere.
    """

    def __init__(self, *, keep_values: bool = False, reads_own: bool = False) -> None:
        self.keep_values = keep_values
        self.reads_own = reads_own
        self.jobs: dict[str, JobLedger] = {}
        self.hosts = Hosts()
        self.last_seq = self.impossible = 0
        self.last_time = 0.0
        self.terms = dict.fromkeys((CONTROLLER, SCHEDULER), 0)
        self.changed: dict[str, JobLedger] = {}
        self.turns = Turns()
        self.forgotten: dict[str, None] = {}
        self.unclaimed: list[Events] = []
        self.returns = Returns()

    def fold(self, entry: LogEntry) -> None:
        """Take one entry in."""
        if entry.seq > self.last_seq:
            self.last_seq, self.last_time = entry.seq, entry.time
            message = entry.message
            _FOLDS[type(message)](self, message, entry.time)

    def apply(self, message: LogMessage, time: float) -> None:
        """Take a message in that is not (yet) read from the log: what its reader itself decided. time: seconds since the epoch."""
        writer = WRITERS.get(type(message))
        if writer is not None and isinstance(message, Decision) and message.term > self.terms[writer]:
            self.terms[writer] = message.term
            self.turns.is_open = True
        _FOLDS[type(message)](self, message, time)

    def read_back(self, seq: int, time: float, message: JobDecision) -> None:
        """Take a message in that was applied when it was decided: all that is new is where it stands in the log."""
        if seq <= self.last_seq:
            return
        self.last_seq, self.last_time = seq, time
        if self.turns.is_open:
            self.own_term_began(seq, time, message)
        job = self.jobs.get(message.job)
        if job is not None:
            job.last_seq = seq

    def own_term_began(self, seq: int, time: float, message: JobDecision) -> None:
        """The first decision that was applied in a new term is in the log, at this sequence."""
        if self.turns.is_open:
            self.turns.is_open = False
            self._turned(seq, time, _beginning(message))

    def knows(self, job: str) -> bool:
        """Whether this job was submitted, also if it was forgotten lately."""
        return job in self.jobs or job in self.forgotten

    def forget(self, job: str) -> None:
        """Drop a job that is over from memory; nothing of it is folded any more."""
        if self.jobs.pop(job, None) is not None:
            self._remember_forgotten(job)
        self.changed.pop(job, None)

    def remember_forgotten(self, jobs: Iterable[str]) -> None:
        """Recognise these jobs as ones that were forgotten."""
        for job in jobs:
            self._remember_forgotten(job)

    def _remember_forgotten(self, job: str) -> None:
        self.forgotten[job] = None
        if len(self.forgotten) > FORGOTTEN_REMEMBERED:
            del self.forgotten[next(iter(self.forgotten))]

    def take_changed(self) -> list[JobLedger]:
        """The jobs that something was folded for since the last call, in the order of their ids."""
        changed, self.changed = self.changed, {}
        return [changed[name] for name in sorted(changed)]

    def take_unclaimed(self) -> list[Events]:
        """What is `unclaimed`, once."""
        unclaimed, self.unclaimed = self.unclaimed, []
        return unclaimed

    def _decided(self, message: JobDecision, time: float) -> None:
        """Take in what a service decided, unless one of a later term was seen."""
        writer, term = WRITERS[type(message)], message.term
        known = self.terms[writer]
        if term > known:
            self.terms[writer] = term
            self._turned(self.last_seq, time, _beginning(message))
        if term >= known:
            self._order(message, time)

    def _turned(self, seq: int, time: float, message: Turned) -> None:
        """Remember what changes more than one job."""
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
        """Whether a host has not joined yet in the epoch under which it lists what it holds. That also holds for a host of which this
        reader has read nothing: the list of an epoch precedes its `HostJoined`, and the loss of the epoch before may come in between."""
        known = self.hosts.get(events.host)
        return known is None or events.epoch > known.epoch

    def _counts(self, host: str, epoch: int) -> bool:
        """Whether what a host of this epoch says or is told counts. What a reader that began after the host had joined heard of an earlier
        epoch is lost."""
        if host not in self.hosts and self.hosts.hear(host, epoch):
            self._lose(host, "it started anew")
        return self.hosts.counts(host, epoch)

    def _host(self, message: HostJoined | HostLost, time: float) -> None:
        returned = self.returns.take_events(message.host, message.epoch)
        if isinstance(message, HostLost):
            self._turned(self.last_seq, time, message)
            if self.hosts.lost(message):
                self._lose(message.host, message.reason)
            return
        rejoins = message.rejoins or bool(returned)
        # A snapshot must say it: who starts from one does not read the lists for forgotten jobs.
        self._turned(self.last_seq, time, message if rejoins == message.rejoins else replace(message, rejoins=True))
        if self.hosts.joined(message, time):
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
        if needed.at < job.returned_at:  # decided before the host was back
            spare(job)


def _without(fold: Callable[[JobLedger, Any], None]) -> Callable[[Ledger, JobLedger, Any, float], None]:
    """A fold into the job alone, as one of `_ORDERS`."""
    return lambda _ledger, job, message, _time: fold(job, message)


_FOLDS: dict[type[Any], Callable[[Ledger, Any, float], None]] = {
    Events: Ledger._events,
    HostJoined: Ledger._host,
    HostLost: Ledger._host,
    Submitted: Ledger._submitted,
    **dict.fromkeys(get_args(Order), Ledger._order),
    **dict.fromkeys(WRITERS, Ledger._decided),
}
"""How each kind of message is folded at a time. An order that is no decision counts in whatever term it was written."""


def _beginning(message: JobDecision) -> Turned:
    """A message that stands for the first decision of a term, and changes nothing besides."""
    job = message.job
    if WRITERS[type(message)] == CONTROLLER:
        return Needed(at=message.at, term=message.term, job=job, tasks=[], attempts=[])
    return Revoke(at=message.at, term=message.term, job=job, host=SCHEDULER, epoch=0, chains=[])


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
"""A reroute changes what a host asks whom for, and nothing that is folded; what follows from `Stranded` and `NoRoom`, the
controller decides."""
