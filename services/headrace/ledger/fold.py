"""The fold of the log: every entry in its order, into jobs and hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from headrace.ledger import orders
from headrace.ledger.facts import fold_events
from headrace.ledger.hosts import Hosts
from headrace.ledger.job import JobLedger
from headrace.ledger.possible import is_possible
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
    Plan,
    Published,
    Purge,
    Refused,
    Released,
    Reroute,
    Revoke,
    Submitted,
)

CONTROLLER, SCHEDULER = "controller", "scheduler"
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
    jobs, hosts: by name. last_seq: of the last entry folded. changed: the jobs that an entry was folded for since
    `take_changed`. impossible: entries passed over, for they cannot be said of their job.
    An entry at or before `last_seq` is ignored, so a feed may begin again anywhere.
    """

    def __init__(self, *, keep_values: bool = False) -> None:
        self.keep_values = keep_values
        self.jobs: dict[str, JobLedger] = {}
        self.hosts = Hosts()
        self.last_seq = self.impossible = 0
        self.terms = dict.fromkeys((CONTROLLER, SCHEDULER), 0)
        self.changed: dict[str, JobLedger] = {}
        self._forgotten: set[str] = set()

    def fold(self, entry: LogEntry) -> None:
        """Take one entry in."""
        if entry.seq > self.last_seq:
            self.last_seq = entry.seq
            self.apply(entry.message, entry.time)

    def apply(self, message: LogMessage, time: float) -> None:
        """Take a message in that is not (yet) read from the log: what its reader itself decided. time: seconds since the epoch."""
        kind = type(message)
        if kind is Events:
            self._events(message)  # type: ignore[arg-type]
        elif kind is HostJoined or kind is HostLost:
            self._host(message)  # type: ignore[arg-type]
        elif kind is Submitted:
            self._submitted(message, time)  # type: ignore[arg-type]
        elif self._in_term(message):  # type: ignore[arg-type]
            self._order(message, time)

    def knows(self, job: str) -> bool:
        """Whether this job was submitted, also if it is forgotten."""
        return job in self.jobs or job in self._forgotten

    def forget(self, job: str) -> None:
        """Drop a job that is over from memory; nothing of it is folded any more."""
        if self.jobs.pop(job, None) is not None:
            self._forgotten.add(job)
        self.changed.pop(job, None)

    def take_changed(self) -> list[JobLedger]:
        """The jobs that something was folded for since the last call, in the order of their ids."""
        changed, self.changed = self.changed, {}
        return [changed[name] for name in sorted(changed)]

    def _in_term(self, message: Decision) -> bool:
        writer = WRITERS.get(type(message))
        if writer is None:
            return True
        if message.term < self.terms[writer]:
            return False
        self.terms[writer] = message.term
        return True

    def _is_possible(self, job: JobLedger, message: LogMessage) -> bool:
        possible = is_possible(job, message)
        self.impossible += not possible
        return possible

    def _submitted(self, message: Submitted, time: float) -> None:
        if not self.knows(message.job):
            job = JobLedger(message, time, keep_values=self.keep_values)
            self.jobs[message.job] = self.changed[message.job] = job

    def _events(self, events: Events) -> None:
        job = self.jobs.get(events.job)
        if job is not None and not job.over and self.hosts.counts(events.host, events.epoch) and self._is_possible(job, events):
            self.changed[job.job] = job
            fold_events(job, events)

    def _host(self, message: HostJoined | HostLost) -> None:
        if not (self.hosts.joined(message) if isinstance(message, HostJoined) else self.hosts.lost(message)):
            return
        for job in self.jobs.values():
            index = job.host_ids.get(message.host)
            if index is not None and not job.over:
                self.changed[job.job] = job
                orders.fold_host_lost(job, index)

    def _order(self, message: LogMessage, time: float) -> None:
        job = self.jobs.get(message.job)  # type: ignore[union-attr]
        if job is None or job.over or not self._is_possible(job, message):
            return
        self.changed[job.job] = job
        if isinstance(message, Ended):
            orders.fold_ended(job, message, time)
        elif isinstance(message, Assign):
            orders.fold_assign(job, message, self.hosts.counts(message.host, message.epoch))
        elif isinstance(message, Purge):
            if self.hosts.counts(message.host, message.epoch):
                orders.fold_purge(job, message)
        elif (fold := _ORDERS.get(type(message))) is not None:
            fold(job, message)


_ORDERS: dict[type[Any], Callable[[JobLedger, Any], None]] = {
    Plan: orders.fold_plan,
    Revoke: orders.fold_revoke,
    Needed: orders.fold_needed,
    Due: orders.fold_due,
    CancelAsked: orders.fold_cancel_asked,
    Refused: orders.fold_refused,
    Released: orders.fold_released,
    Published: orders.fold_published,
}
"""A reroute changes what a host asks whom for, and nothing that is folded; what follows from `Stranded` and `NoRoom`, the
controller decides."""
