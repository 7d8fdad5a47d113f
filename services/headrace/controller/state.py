"""The controller's decisions, as a pure function of the log.

`fold` takes the entries of the log. `decide` returns the decisions that follow from them and were not made before:

    Ended    a job is over: every output is available and every task is done; or a client asked to cancel it; or no retry is left for a
             failure; or two outputs have the same path; or the graph is invalid, or may not run; or no host has what a task needs (see
             `unschedulable`); or the log has no room for the job (see `room`)
    Needed   tasks must run, or run again (see `recovery`). In a done job, this recomputes outputs that were lost before the client fetched
             them, once its `Ended` is in the log
    Purge    a host may drop copies (see `purges`), or must drop what it brought back of jobs that are over and forgotten

A decision takes effect when it is made, and not again when it comes back in the log. So the decisions at a sequence follow from the entries
up to it alone, in whatever batches they were read, and a replay can make every decision again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from headrace.controller.cuts import Cuts
from headrace.controller.metrics import ControllerCounts
from headrace.controller.pauses import Pauses
from headrace.controller.purges import Drops, Purges, may_drop, released_outputs
from headrace.controller.recovery import clashing, hopeless, needed
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
"""The types of the controller's decisions. Its other messages record facts."""


class Controller(LedgerMachine):
    """The state machine of the controller. term: that of its lease, which its decisions carry. counts: its decisions, for metrics."""

    def __init__(self, term: int, limits: Limits | None = None) -> None:
        self.term = term
        self.limits = limits or Limits()
        self.counts = ControllerCounts()
        self.ledger = Ledger(reads_own=True)
        self.seen: list[JobLedger] = []
        """The jobs that had changed at the last `decide`."""
        self._purges: dict[str, Purges] = {}
        self._unclaimed: list[Events] = []
        self._unschedulable = Unschedulable()
        self._pauses = Pauses(self.limits)
        self._cuts = Cuts(self.limits)
        self.time = 0.0
        """The time of the last entry, in seconds since 1970, by the server's clock. This is the log's clock."""
        self._reopened_at: dict[str, set[int]] = {}
        """For each done job that recomputes outputs: the `at` of each `Needed` that began this and is not in the log yet."""
        self._ending: dict[str, int] = {}
        """The `at` of the last `Ended` of each job, until that is in the log."""
        self._no_room: dict[str, str] = {}
        """The reason for each job that must end because the log has no room."""

    def fold(self, entry: LogEntry) -> None:
        """Fold an entry of the log."""
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
            self._pauses.failed(events, self.time, self.ledger)
        if events.unreachable:
            self._cuts.note_report(events, self.time, self.ledger.hosts)

    def _host_folded(self, message: HostJoined | HostLost) -> None:
        self._pauses.interrupted(self.time, self.ledger)
        self._cuts.drop_reports(message, self.time)

    def _unschedulable_folded(self, message: Submitted | Stranded) -> None:
        self._unschedulable.note_message(message, self.ledger)

    def _no_room_folded(self, message: NoRoom) -> None:
        if message.job in self.ledger.jobs:
            self._no_room[message.job] = reason(message.used, message.limit, message.admitted)

    def _purge_again(self, purge: Purge) -> None:
        """Drop the datasets of a purge once more when it is in the log.

        The host drops its copies when it reads the purge, even those that it made after the decision. They are lost, and recomputed if
        they are needed.
        """
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
        """Drop the intermediate datasets of a reopened job once more when its `Needed` is in the log.

        The other readers drop them when they read this entry, even those that hosts reported after the decision.
        """
        reopened_at, job = self._reopened_at.get(needed.job), self.ledger.jobs.get(needed.job)
        if reopened_at is None or needed.at not in reopened_at or job is None:
            return
        reopened_at.discard(needed.at)
        job.changes.to("lost").add(drop_what_was_passed_on(job))
        self.ledger.changed[job.job] = job

    def _end_stored(self, ended: Ended) -> None:
        """Begin to recompute outputs that were lost since the end of a job was decided, now that the end is in the log.

        A `Needed` before the `Ended` in the log would have been ended by it.
        """
        if self._ending.get(ended.job) != ended.at:
            return
        del self._ending[ended.job]
        job = self.ledger.jobs.get(ended.job)
        if job is not None and not job.over and job.n_missing:
            job.changes.to("lost").add(missing_outputs(job))
            self.ledger.changed[job.job] = job

    def decide(self, at: int) -> list[Decided]:
        """Return all new decisions that follow from the folded entries. at: the sequence of the last entry."""
        self.seen = self.ledger.take_changed()
        decisions = [decision for job in self.seen for decision in self._decide_job(job, at)]
        if self._unclaimed:
            decisions += self._disown(at)
        self.ledger.take_changed()
        return decisions

    def _disown(self, at: int) -> list[Decided]:
        """Purge the datasets that rejoined hosts hold of jobs that are unknown, failed or cancelled."""
        unclaimed, self._unclaimed = self._unclaimed, []
        purges = [
            Purge(at=at, term=self.term, job=events.job, host=events.host, epoch=events.epoch, datasets=sorted({*events.produced}))
            for events in unclaimed
        ]
        for purge in purges:
            self.counts.add_decision(purge, 0.0)
        return list[Decided](purges)

    def expired(self, now: float, after: float) -> list[Released]:
        """Make messages for outputs that no client fetched within `after` seconds of their job's end. now: by the log's clock.

        An expired timer is a fact like any other: it takes effect once it is in the log.
        """
        due = [job for job in self.ledger.jobs.values() if job.end is not None and now - job.ended_at > after]
        why = f"no client fetched them within {after:g} s of the job's end (HEADRACE_OUTPUT_EXPIRY)"
        return [
            Released(at=self.ledger.last_seq, term=self.term, job=job.job, reason=why) for job in due if not (job.over or job.nothing_kept)
        ]

    def stranded(self, now: float, after: float) -> list[Stranded]:
        """Make messages for jobs with tasks that no living host could run for `after` seconds. now: seconds of any monotonic clock."""
        due = self._unschedulable.due(self.ledger, now, after)
        return [Stranded(at=self.ledger.last_seq, term=self.term, job=job, seconds=after) for job in due]

    def alone(self, now: float, after: float) -> list[Stranded]:
        """Make messages for jobs that have waited for `after` seconds without any living host. now: seconds of any monotonic clock."""
        due = self._unschedulable.alone(self.ledger, now, after)
        return [Stranded(at=self.ledger.last_seq, term=self.term, job=job, seconds=after, alone=True) for job in due]

    @property
    def next_due(self) -> float | None:
        """The time at which the next pause after a failure ends, by the log's clock; None if there is no pause."""
        return self._pauses.next(self.ledger)

    def due(self, now: float) -> list[Due]:
        """Make messages for tasks whose pause after a failure is over. now: by the log's clock."""
        return [
            Due(
                at=self.ledger.last_seq,
                term=self.term,
                job=job,
                tasks=[pause.task for pause in pauses],
                attempts=[pause.attempt for pause in pauses],
                about=some_tasks(self.ledger.jobs[job].spec, [pause.task for pause in pauses]),
            )
            for job, pauses in self._pauses.due(self.ledger, now, self.limits.ids_per_message // 2)
        ]

    def cut_off(self) -> list[HostLost]:
        """Make messages for hosts that their peers cannot reach, which are declared lost."""
        lost = self._cuts.take_lost(self.time, self.ledger.hosts) if self._cuts else []
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
        """Make the message for a job that the log has no room for. admitted: whether the job was admitted before."""
        return NoRoom(at=self.ledger.last_seq, term=self.term, job=job, used=usage.bytes, limit=usage.limit, admitted=admitted)

    def forget(self, job: str) -> None:
        """Drop a job that is over from memory."""
        self._no_room.pop(job, None)
        self._reopened_at.pop(job, None)
        self._ending.pop(job, None)
        self._unschedulable.forget_job(job)
        self.ledger.forget_job(job)
        self._purges.pop(job, None)

    def _decide_job(self, job: JobLedger, at: int) -> Iterator[Decided]:
        """Decide and fold the decisions, step by step, until no further decision follows."""
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
        """Recompute lost outputs of a done job while they are kept for the client. A second `Ended` ends that."""
        if job.reopened and job.is_complete:
            return [self._end(job, at, "done")]
        if job.reopened and changes.failed:
            failure = hopeless(job, changes, self.limits, self.ledger.hosts)
            if failure is not None:
                return [self._end(job, at, "done", f"lost outputs could not be computed again: {failure.reason}", failure.error)]
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
"""The function for each type of decision that comes back in the log."""
_FOLDED: dict[type[Any], Callable[[Controller, Any], None]] = {
    Events: Controller._events_folded,
    HostJoined: Controller._host_folded,
    HostLost: Controller._host_folded,
    Submitted: Controller._unschedulable_folded,
    Stranded: Controller._unschedulable_folded,
    NoRoom: Controller._no_room_folded,
}
"""The function for each type of message that changes more than the ledger."""


def _matters(changes: Changes) -> bool:
    """Whether a done job may have outputs to drop after these changes."""
    return bool(changes.released or changes.touched)


def _why(job: JobLedger, tasks: list[int]) -> str:
    """Describe for people why tasks must run: by the first failure among them, or else by the loss of their datasets."""
    for task in tasks:
        error = job.failures.get(task, {}).get(job.attempts[task])
        if error is not None:
            return f"attempt {error.attempt} of {error.name or task!r}: {error.reason.replace('_', ' ')}"
    if job.sunk is not None and any(dataset in job.sunk.refused for task in tasks for dataset in job.topology.outputs_of(task)):
        return "an output was not committed to its sink, or was lost"
    return "a dataset was lost with its host, or dropped there"
