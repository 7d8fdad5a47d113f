"""Which runner gets which segment, and when: plan order, short queues, affinity of a chain to its runner."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable

from headrace.worker import protocol
from headrace.worker.jobs import Entry, HostJob, Segment
from headrace.worker.scarce import Ready, Scarce
from headrace.worker.settings import Settings

LOOK_AHEAD = 64
"""Under pressure, so many ready segments are looked at for one that frees memory."""

TURN_SECONDS = 2e-5
"""Predicted work that a runner is given in one go beyond what the next one has: a few of the shortest tasks, and one of any other."""


class RunnerSlot:
    """One runner as the agent sees it."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.alive = False
        self.generation = 0
        """Counts the processes that had this slot."""
        self.outstanding: dict[int, Segment] = {}
        """Segments sent and not ended, oldest first."""
        self.predicted = 0.0
        """Seconds of work among them."""
        self.deferred: set[int] = set()
        """Segments among them whose results wait for room."""
        self.batches: dict[int, list[Segment]] = {}
        """Segments among them that are to be sent, by job number."""
        self.closing: list[int] = []
        """Numbers of jobs that are over, which it is told when it is sent something else, or soon: it has nothing of them to execute."""

    @property
    def client(self) -> tuple[str, int, int]:
        """Name of this process in the store's books."""
        return ("runner", self.slot, self.generation)

    @property
    def busy(self) -> bool:
        """Whether it has something to execute that does not wait for room."""
        return len(self.outstanding) > len(self.deferred)


class Dispatcher:
    """The ready segments of a host and its runners."""

    def __init__(self, settings: Settings, prepare: Callable[[Segment], bool], may_park: Callable[[], bool]) -> None:
        self._settings = settings
        self._prepare = prepare
        """Sees that a segment's inputs are in memory; False if it becomes ready later."""
        self._may_park = may_park
        self.slots = [RunnerSlot(slot) for slot in range(settings.runners)]
        self._in_order: deque[Ready] = deque()
        self._out_of_order: list[Ready] = []
        """Ready segments in plan order: appended where they come in that order, as most do; a heap of the others."""
        self._scarce = Scarce(settings.resources) if settings.resources else None
        """Those that need something of this host wait there; None if it has nothing that could be needed."""

    def ready(self, segments: Iterable[Segment]) -> None:
        """The inputs of segments are here. Each goes to any runner if it heads its chain, else to the one that has the chain."""
        for segment in segments:
            chain = segment.chain
            if segment.over or segment.place != chain.next or (self._scarce is not None and self._scarce.takes(segment)):
                continue
            if segment.place and chain.slot >= 0:
                if self._prepare(segment):
                    self._send(segment, self.slots[chain.slot])
            else:
                self._push((chain.order, segment.id, segment))

    def _push(self, item: Ready) -> None:
        if not self._in_order or item > self._in_order[-1]:
            self._in_order.append(item)
        else:
            heapq.heappush(self._out_of_order, item)

    def _pop(self) -> Ready:
        """The first in plan order."""
        late, early = self._out_of_order, self._in_order
        if late and (not early or late[0] < early[0]):
            return heapq.heappop(late)
        return early.popleft()

    def fill(self, allowed: Callable[[Segment], bool] | None) -> None:
        """Hand out ready segments in plan order while runners have room. `allowed` says, under pressure, which may start."""
        if self._scarce is not None:
            self._fill_scarce(self._scarce, allowed)
        passed: list[Ready] = []
        while (self._in_order or self._out_of_order) and self._may_park() and len(passed) < LOOK_AHEAD:
            runner, until = self._next_turn()
            if runner is None:
                break
            self._hand_out(runner, until, allowed, passed)
        for item in passed:
            heapq.heappush(self._out_of_order, item)

    def _fill_scarce(self, scarce: Scarce, allowed: Callable[[Segment], bool] | None) -> None:
        """Before all others, those that need what is scarce: that is not to lie idle while they wait behind what could run anywhere."""
        passed: list[Ready] = []
        while self._may_park() and len(passed) < LOOK_AHEAD and (item := scarce.first()) is not None:
            segment = item[2]
            runner = self.slots[segment.chain.slot] if segment.place else self._next_turn()[0]
            if runner is None or (allowed is not None and not allowed(segment)):
                passed.append(item)
                if runner is None:
                    break
            elif self._prepare(segment):
                self._send(segment, runner)
        scarce.again(passed)

    def _next_turn(self) -> tuple[RunnerSlot | None, float]:
        """The runner with the least to do, if any has room, and how much it may have before the others are looked at again, in seconds."""
        best, least, next_least = None, math.inf, math.inf
        for runner in self.slots:
            if self._has_room(runner):
                if runner.predicted < least:
                    best, least, next_least = runner, runner.predicted, least
                elif runner.predicted < next_least:
                    next_least = runner.predicted
        return best, next_least + TURN_SECONDS

    def _has_room(self, runner: RunnerSlot) -> bool:
        if not runner.alive:
            return False
        waiting = len(runner.outstanding) - len(runner.deferred)
        return waiting < 2 or (runner.predicted < self._settings.queue_seconds and waiting < self._settings.queue_segments)

    def _hand_out(self, runner: RunnerSlot, until: float, allowed: Callable[[Segment], bool] | None, passed: list[Ready]) -> None:
        """Give a runner its turn. It ends early where one has to wait for the disk, and where too many may not start."""
        while (self._in_order or self._out_of_order) and runner.predicted < until and self._has_room(runner):
            item = self._pop()
            segment = item[2]
            if segment.over:
                continue
            if allowed is not None and not allowed(segment):
                passed.append(item)
                if len(passed) == LOOK_AHEAD:
                    return
            elif self._prepare(segment):
                self._send(segment, runner)
            else:
                return

    def _send(self, segment: Segment, runner: RunnerSlot) -> None:
        """Put a segment, and those of its chain that are ready behind it, into the runner's next batch."""
        chain = segment.chain
        job = chain.job
        chain.slot = runner.slot
        batch = runner.batches.get(job.number)
        if batch is None:
            batch = runner.batches[job.number] = []
        while True:
            segment.predicted = job.predict(segment.tasks, self._settings.unknown_seconds)
            runner.predicted += segment.predicted
            runner.outstanding[segment.id] = segment
            if self._scarce is not None:
                self._scarce.sent(segment, runner.slot)
            batch.append(segment)
            chain.next += 1
            if chain.next == len(chain.segments) or chain.segments[chain.next].missing:
                return
            segment = chain.segments[chain.next]
            if not self._prepare(segment):
                return

    def batches(self) -> list[tuple[RunnerSlot, int, list[Segment]]]:
        """What was handed out since the last call and is not over: runner, job number, segments."""
        found = []
        for runner in self.slots:
            if runner.batches:
                batches, runner.batches = runner.batches, {}
                for number, segments in batches.items():
                    alive = [segment for segment in segments if not segment.over]
                    if self._scarce is not None and len(alive) < len(segments):
                        self._scarce.through(segment.id for segment in segments if segment.over)
                    found += [(runner, number, alive)] if alive else []
        return found

    def ended(self, slot: int, job: HostJob, ids: Iterable[int]) -> list[Segment]:
        """A runner is through with segments, well or not. Returns them, save those that were not its, or not the job's."""
        runner = self.slots[slot]
        ended = []
        for id in ids:
            segment = runner.outstanding.get(id)
            if segment is not None and segment.chain.job is job:
                del runner.outstanding[id]
                runner.predicted -= segment.predicted
                ended.append(segment)
        if not runner.outstanding or runner.predicted < 0:
            runner.predicted = 0.0
        if runner.deferred:
            runner.deferred.difference_update([segment.id for segment in ended])
        return ended

    def heard(self, through: list[int], failed: list[int]) -> None:
        """A runner executed segments to their end, or tasks of them failed; also such as were dropped here meanwhile."""
        if self._scarce is not None:
            self._scarce.through(through)
            self._scarce.failed(failed)

    def has_scarce(self, slot: int, number: int) -> bool:
        """Whether something scarce is kept for what a runner may execute of a job."""
        return self._scarce is not None and bool(self._scarce.held(slot, number))

    def closed(self, slot: int, number: int) -> None:
        """A runner executes nothing more of a job that is over."""
        if self._scarce is not None:
            self._scarce.closed(slot, number)

    def drop_job(self, job: HostJob) -> None:
        """Forget what a job has at the runners; its segments are marked as over by the caller."""
        for runner in self.slots:
            self.ended(runner.slot, job, list(runner.outstanding))

    def runner_started(self, slot: int) -> None:
        """A new process has the slot."""
        runner = self.slots[slot]
        runner.alive = True
        runner.generation += 1

    def runner_died(self, slot: int) -> list[Segment]:
        """The slot is empty. Returns what it had, oldest first."""
        runner = self.slots[slot]
        lost = list(runner.outstanding.values())
        if self._scarce is not None:
            self._scarce.died(slot)
        runner.alive = False
        runner.outstanding.clear()
        runner.deferred.clear()
        runner.predicted = 0.0
        runner.batches.clear()
        runner.closing.clear()
        return lost


def run_frame(job: HostJob, segments: list[Segment], locate: Callable[[Entry], protocol.Location]) -> protocol.Run:
    """Segments as one frame; `locate` gives the place of an input in the arena and counts the mapping."""
    tasks = [task for segment in segments for task in segment.tasks]
    given = [entry for segment in segments for entry in segment.entries]
    attempts = bool(job.attempts) and any(segment.chain.attempts for segment in segments)
    return protocol.Run(
        job=job.number,
        segments=[segment.id for segment in segments],
        chains=[segment.chain.id for segment in segments],
        lengths=[len(segment.tasks) for segment in segments],
        tasks=tasks,
        leaves=[fate for segment in segments for fate in segment.leaves],
        attempts=[segment.chain.attempts.get(task, 0) for segment in segments for task in segment.tasks] if attempts else [],
        counts=[len(segment.entries) for segment in segments],
        inputs=[entry.dataset for entry in given],
        locations=[entry.value if entry.value is not None else locate(entry) for entry in given],
    )
