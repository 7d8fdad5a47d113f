"""The controller's decisions: a pure function of the log so far.

Events in, decisions out. `fold` takes the log's entries in; `decide` returns everything that follows from them and was not decided yet:

    Ended    every output is there and every task ended well; or somebody asked to cancel; or a failure is left no retry; or two outputs
             lead to one file; or the graph cannot be run, or may not; or a task needs what no host has, see `unschedulable`; or the log has
             no room for it, see `room`
    Needed   tasks that must run (again), see `recovery`; also of a job that is done, for outputs that were lost before a client had them,
             once its `Ended` is in the log
    Purge    copies that a host may drop, see `purges`; and what a host that joins again holds of jobs that are over and forgotten

Decisions take effect at once, and not again when they come back in the log: an entry of this controller's own term is passed over. So what
is decided at a sequence follows from the entries up to it alone, however they were batched, and replay can make every decision again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from headrace.controller.cuts import Cuts
from headrace.controller.metrics import ControllerCounts
from headrace.controller.purges import Drops, Purges, may_drop, released_outputs
from headrace.controller.recovery import clashing, hopeless, needed
from headrace.controller.retries import Retries
from headrace.controller.settings import Limits
from headrace.controller.unschedulable import Unschedulable
from headrace.graph.naming import some_datasets, some_tasks
from headrace.ledger import NOWHERE, Changes, JobLedger, Ledger, LogEntry
from headrace.ledger.changes import Touched
from headrace.ledger.machine import LedgerMachine
from headrace.ledger.orders import drop_what_was_passed_on, missing_outputs, reopen
from headrace.usage import Usage, reason
from headrace_schemas import (
    Due,
    Ended,
    EndState,
    Events,
    HostJoined,
    HostLost,
    Needed,
    NoRoom,
    Purge,
    Released,
    Stranded,
    Submitted,
    TaskError,
)

Decided = Ended | Needed | Purge
DECIDED = (Ended, Needed, Purge)
"""What the controller decides on; whatever else it writes, it only writes down."""


class Controller(LedgerMachine):
    """The life of all jobs. term: of this controller's lease; decisions carry it. counts: what it decided."""

    def __init__(self, term: int, limits: Limits | None = None) -> None:
        self.term = term
        self.limits = limits or Limits()
        self.counts = ControllerCounts()
        self.ledger = Ledger(reads_own=True)
        self.seen: list[JobLedger] = []
        """The jobs that the last `decide` looked at: those that something happened to."""
        self._purges: dict[str, Purges] = {}
        self._unclaimed: list[Events] = []
        self._unschedulable = Unschedulable()
        self._retries = Retries(self.limits)
        self._cuts = Cuts(self.limits)
        self.time = 0.0
        """By the log's clock: when the last entry was written."""
        self._reopened_at: dict[str, set[int]] = {}
        """Of each job that is done and makes outputs again: the `at` of those `Needed` that say so and are not in the log yet."""
        self._ending: dict[str, int] = {}
        """Jobs whose last `Ended` is not in the log yet, with its `at`."""
        self._no_room: dict[str, str] = {}
        """Jobs that must end for want of room in the log, and why."""

    def fold(self, entry: LogEntry) -> None:
        """Take an entry of the log in."""
        self.time = entry.time
        message = entry.message
        kind = type(message)
        if isinstance(message, DECIDED) and message.term == self.term:
            self.ledger.read_back(entry.seq, entry.time, message)
            own = _READ_BACK.get(kind)
            if own is not None:
                own(self, message)
            return
        self.ledger.fold(entry)
        if self.ledger.unclaimed:
            self._unclaimed += self.ledger.take_unclaimed()
        folded = _FOLDED.get(kind)
        if folded is not None:
            folded(self, message)

    def _events_folded(self, events: Events) -> None:
        if events.failed:
            self._retries.failed(events, self.time, self.ledger)
        if events.unreachable:
            self._cuts.said(events, self.time, self.ledger.hosts)

    def _host_folded(self, message: HostJoined | HostLost) -> None:
        self._retries.interrupted(self.time, self.ledger)
        self._cuts.changed(message, self.time)

    def _unschedulable_folded(self, message: Submitted | Stranded) -> None:
        self._unschedulable.note_message(message, self.ledger)

    def _no_room_folded(self, message: NoRoom) -> None:
        if message.job in self.ledger.jobs:
            self._no_room[message.job] = reason(message.used, message.limit, message.admitted)

    def _purge_again(self, purge: Purge) -> None:
        """A purge is in the log. What was made again on the host since it was decided is dropped there too: whoever needs it is to have it
        made once more."""
        job = self.ledger.jobs.get(purge.job)
        host = job.host_ids.get(purge.host) if job is not None else None
        if job is None or host is None or job.end is not None:
            return
        again = [dataset for dataset in purge.datasets if 0 <= dataset < job.topology.n_datasets and job.copies.holds(host, dataset)]
        if again:
            self.ledger.apply(msgspec.structs.replace(purge, datasets=again), self.time)
            job.changes.touched.append(Touched(host, again))
            job.changes.to("lost").few.extend(dataset for dataset in again if job.copies.homes[dataset] == NOWHERE)

    def _drop_again(self, needed: Needed) -> None:
        """A job that is done makes outputs again, as everybody else hears only now. What was reported since that was decided, they drop
        too."""
        reopened_at, job = self._reopened_at.get(needed.job), self.ledger.jobs.get(needed.job)
        if reopened_at is None or needed.at not in reopened_at or job is None:
            return
        reopened_at.discard(needed.at)
        job.changes.to("lost").add(drop_what_was_passed_on(job))
        self.ledger.changed[job.job] = job

    def _end_stored(self, ended: Ended) -> None:
        """The end of a job is in the log. Outputs that were lost since it was decided can be made again from now on: had that been in the
        log before the end, readers would have taken it to be over with the end."""
        if self._ending.get(ended.job) != ended.at:
            return
        del self._ending[ended.job]
        job = self.ledger.jobs.get(ended.job)
        if job is not None and not job.over and job.n_missing:
            job.changes.to("lost").add(missing_outputs(job))
            self.ledger.changed[job.job] = job

    def decide(self, at: int) -> list[Decided]:
        """Everything that follows from the entries folded so far, the last of which has sequence `at`."""
        self.seen = self.ledger.take_changed()
        decisions = [decision for job in self.seen for decision in self._decide_job(job, at)]
        if self._unclaimed:
            decisions += self._disown(at)
        self.ledger.take_changed()
        return decisions

    def _disown(self, at: int) -> list[Decided]:
        """Have hosts that joined again drop what they hold of jobs that nobody knows any more, or that failed or were cancelled."""
        unclaimed, self._unclaimed = self._unclaimed, []
        purges = [
            Purge(at=at, term=self.term, job=events.job, host=events.host, epoch=events.epoch, datasets=sorted({*events.produced}))
            for events in unclaimed
        ]
        for purge in purges:
            self.ledger.apply(purge, self.time)  # it may be the first decision of the term
            self.counts.add_decision(purge, 0.0)
        return list[Decided](purges)

    def expired(self, now: float, after: float) -> list[Released]:
        """What to write down of outputs that no client fetched within `after` seconds of their job's end. now: by the log's clock.

        That a timer fired is a fact like any other: what follows from it, follows once it is in the log.
        """
        due = [job for job in self.ledger.jobs.values() if job.end is not None and now - job.ended_at > after]
        why = f"no client fetched them within {after:g} s of the job's end (HEADRACE_OUTPUT_EXPIRY)"
        return [
            Released(at=self.ledger.last_seq, term=self.term, job=job.job, reason=why) for job in due if not (job.over or job.nothing_kept)
        ]

    def stranded(self, now: float, after: float) -> list[Stranded]:
        """What to write down of jobs with tasks that for `after` seconds no living host could take. now: of any clock that goes on."""
        due = self._unschedulable.due(self.ledger, now, after)
        return [Stranded(at=self.ledger.last_seq, term=self.term, job=job, seconds=after) for job in due]

    def alone(self, now: float, after: float) -> list[Stranded]:
        """What to write down of jobs that for `after` seconds no host has lived for. now: of any clock that goes on."""
        due = self._unschedulable.alone(self.ledger, now, after)
        return [Stranded(at=self.ledger.last_seq, term=self.term, job=job, seconds=after, alone=True) for job in due]

    @property
    def next_due(self) -> float | None:
        """When the next task that failed is to be tried again, by the log's clock; None if none is."""
        return self._retries.next(self.ledger)

    def due(self, now: float) -> list[Due]:
        """What to write down of tasks whose pause after a failure is over. now: by the log's clock."""
        return [
            Due(
                at=self.ledger.last_seq,
                term=self.term,
                job=job,
                tasks=[pause.task for pause in pauses],
                attempts=[pause.attempt for pause in pauses],
                about=some_tasks(self.ledger.jobs[job].spec, [pause.task for pause in pauses]),
            )
            for job, pauses in self._retries.due(self.ledger, now, self.limits.ids_per_message // 2)
        ]

    def cut_off(self) -> list[HostLost]:
        """What to write down of hosts that their peers cannot reach: the cluster goes on without them."""
        lost = self._cuts.lost(self.time, self.ledger.hosts) if self._cuts else []
        return [
            HostLost(
                at=self.ledger.last_seq,
                term=self.term,
                host=host,
                epoch=self.ledger.hosts[host].epoch,
                reason=f"no link between it and {', '.join(peers)}",
                cut=True,
            )
            for host, peers in lost
        ]

    def no_room(self, job: str, usage: Usage, admitted: bool) -> NoRoom:
        """What to write down of a job that the log has no room for. admitted: whether it is under way."""
        return NoRoom(at=self.ledger.last_seq, term=self.term, job=job, used=usage.bytes, limit=usage.limit, admitted=admitted)

    def forget(self, job: str) -> None:
        """Drop a job that is over from memory."""
        self._no_room.pop(job, None)
        self._reopened_at.pop(job, None)
        self._ending.pop(job, None)
        self._unschedulable.forget_job(job)
        self.ledger.forget(job)
        self._purges.pop(job, None)

    def _decide_job(self, job: JobLedger, at: int) -> Iterator[Decided]:
        """One thing after another, until nothing follows any more."""
        changes = job.take_changes()
        while True:
            decisions = self._step(job, changes, at)
            for decision in decisions:
                self.ledger.apply(decision, self.time)
                if isinstance(decision, Ended):
                    self._ending[job.job] = at
                if not isinstance(decision, Ended) or job.end is decision:
                    self.counts.add_decision(decision, self.time - job.submitted)
                yield decision
            changes = job.take_changes()
            if not decisions or not changes:
                return

    def _step(self, job: JobLedger, changes: Changes, at: int) -> list[Decided]:
        if job.end is not None:
            self._purges.pop(job.job, None)
            return self._after_done(job, changes, at) if job.end.state == "done" else []
        ended = self._ended(job, changes, at)
        if ended is not None:
            return [ended]
        purges = self._purges.get(job.job)
        if purges is None and may_drop(job, changes):
            purges = self._purges[job.job] = Purges(job)
        if purges is not None:
            purges.note_changes(changes)
        tasks = needed(job, changes)
        if tasks:
            return self._needed(job, tasks, at)
        return self._purge(job, purges.take_drops(), at) if purges is not None else []

    def _after_done(self, job: JobLedger, changes: Changes, at: int) -> list[Decided]:
        """A job that is done makes outputs again that were lost since, while they are kept for the client. A second `Ended` closes that."""
        if job.reopened and job.is_complete:
            return [self._end(job, at, "done")]
        if job.reopened and changes.failed:
            failure = hopeless(job, changes, self.limits, self.ledger.hosts)
            if failure is not None:
                return [self._end(job, at, "done", f"outputs that were lost could not be made again: {failure.reason}", failure.error)]
        if job.n_missing and job.job not in self._ending:
            if not job.reopened:
                self._reopened_at.setdefault(job.job, set()).add(at)
                reopen(job)
            tasks = needed(job, changes)
            if tasks:
                return self._needed(job, tasks, at)
        return self._purge(job, released_outputs(job), at) if _matters(changes) else []

    def _ended(self, job: JobLedger, changes: Changes, at: int) -> Ended | None:
        if job.problem:
            return self._end(job, at, "failed", job.problem)
        if job.refused:
            return self._end(job, at, "failed", job.refused)
        clash = clashing(job)
        if clash is not None:
            return self._end(job, at, "failed", clash.reason, clash.error)
        if job.is_complete:
            return self._end(job, at, "done")
        if job.cancel_asked is not None:
            return self._end(job, at, "cancelled", job.cancel_asked)
        if job.job in self._no_room:
            return self._end(job, at, "failed", self._no_room[job.job])
        failure = self._unschedulable.failures.get(job.job)
        if failure is None and (job.sunk is not None or changes.failed):
            failure = hopeless(job, changes, self.limits, self.ledger.hosts)
        return None if failure is None else self._end(job, at, "failed", failure.reason, failure.error)

    def _end(self, job: JobLedger, at: int, state: EndState, reason: str = "", error: TaskError | None = None) -> Ended:
        return Ended(at=at, term=self.term, job=job.job, state=state, reason=reason, error=error)

    def _needed(self, job: JobLedger, tasks: list[int], at: int) -> list[Decided]:
        attempts = [job.attempts[task] + 1 for task in tasks]
        reason = _why(job, tasks)
        return [
            Needed(
                at=at,
                term=self.term,
                job=job.job,
                tasks=tasks[part],
                attempts=attempts[part],
                reason=reason,
                about=some_tasks(job.spec, tasks[part]),
            )
            for part in self._parts(len(tasks))
        ]

    def _purge(self, job: JobLedger, drops: Drops, at: int) -> list[Decided]:
        return [
            Purge(
                at=at,
                term=self.term,
                job=job.job,
                host=job.hosts[host],
                epoch=self._epoch(job.hosts[host]),
                datasets=drops[host][part],
                about=some_datasets(job.spec, drops[host][part], job.topology),
            )
            for host in sorted(drops)
            for part in self._parts(len(drops[host]))
        ]

    def _epoch(self, host: str) -> int:
        record = self.ledger.hosts.get(host)
        return record.epoch if record is not None else 0

    def _parts(self, length: int) -> list[slice]:
        step = self.limits.ids_per_message
        return [slice(start, start + step) for start in range(0, length, step)]


_READ_BACK: dict[type[Any], Callable[[Controller, Any], None]] = {
    Purge: Controller._purge_again,
    Needed: Controller._drop_again,
    Ended: Controller._end_stored,
}
"""What follows from a decision of this controller when it comes back in the log."""
_FOLDED: dict[type[Any], Callable[[Controller, Any], None]] = {
    Events: Controller._events_folded,
    HostJoined: Controller._host_folded,
    HostLost: Controller._host_folded,
    Submitted: Controller._unschedulable_folded,
    Stranded: Controller._unschedulable_folded,
    NoRoom: Controller._no_room_folded,
}
"""What is remembered of each kind of message besides what the ledger says."""


def _matters(changes: Changes) -> bool:
    """Whether a job that is done may have outputs to drop since."""
    return bool(changes.released or changes.touched)


def _why(job: JobLedger, tasks: list[int]) -> str:
    """For people: the first failure among the tasks, or that something was lost, or not committed."""
    for task in tasks:
        error = job.failures.get(task, {}).get(job.attempts[task])
        if error is not None:
            return f"attempt {error.attempt} of {error.name or task!r}: {error.reason.replace('_', ' ')}"
    if job.sunk is not None and any(dataset in job.sunk.refused for task in tasks for dataset in job.topology.outputs_of(task)):
        return "not committed to its sink, or lost"
    return "lost with its host, or dropped there"
