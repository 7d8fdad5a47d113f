"""Which runner gets which segment, and when: plan order, short queues, affinity of a chain to its runner."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from headrace.worker import protocol
from headrace.worker.jobs import HostJob, Segment
from headrace.worker.settings import Settings

LOOK_AHEAD = 64
"""Under pressure, so many ready segments are looked at for one that frees memory."""

Ready = tuple[int, int, Segment]
"""A ready segment behind what it is ordered by: plan order, then its id."""


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
        self._batches: dict[tuple[int, int], list[Segment]] = {}

    def ready(self, segment: Segment) -> None:
        """The inputs of a segment are here. It goes to any runner if it heads its chain, else to the one that has the chain."""
        chain = segment.chain
        if segment.dead or segment.place != chain.next:
            return
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
        passed: list[Ready] = []
        while (self._in_order or self._out_of_order) and len(passed) < LOOK_AHEAD:
            runner = self._least_loaded()
            if runner is None:
                break
            item = self._pop()
            segment = item[2]
            if segment.dead:
                continue
            if (allowed is not None and not allowed(segment)) or not self._may_park():
                passed.append(item)
                continue
            if self._prepare(segment):
                self._send(segment, runner)
        for item in passed:
            heapq.heappush(self._out_of_order, item)

    def _least_loaded(self) -> RunnerSlot | None:
        best = None
        for runner in self.slots:
            if self._has_room(runner) and (best is None or runner.predicted < best.predicted):
                best = runner
        return best

    def _has_room(self, runner: RunnerSlot) -> bool:
        if not runner.alive:
            return False
        waiting = len(runner.outstanding) - len(runner.deferred)
        return waiting < 2 or (runner.predicted < self._settings.queue_seconds and waiting < self._settings.queue_segments)

    def _send(self, segment: Segment, runner: RunnerSlot) -> None:
        """Put a segment, and those of its chain that are ready behind it, into the runner's next batch."""
        chain = segment.chain
        chain.slot = runner.slot
        while True:
            segment.predicted = chain.job.predict(segment.tasks, self._settings.unknown_seconds)
            runner.predicted += segment.predicted
            runner.outstanding[segment.id] = segment
            self._batches.setdefault((runner.slot, chain.job.number), []).append(segment)
            chain.next += 1
            if chain.next == len(chain.segments) or chain.segments[chain.next].missing:
                return
            segment = chain.segments[chain.next]
            if not self._prepare(segment):
                return

    def batches(self) -> dict[tuple[int, int], list[Segment]]:
        """What was handed out since the last call, by (slot, job number)."""
        batches = self._batches
        if batches:
            self._batches = {}
        return batches

    def ended(self, slot: int, segment_id: int) -> Segment | None:
        """A runner is through with a segment, well or not; None if it was not its."""
        runner = self.slots[slot]
        segment = runner.outstanding.pop(segment_id, None)
        if segment is not None:
            runner.predicted = max(0.0, runner.predicted - segment.predicted) if runner.outstanding else 0.0
            runner.deferred.discard(segment_id)
        return segment

    def drop_job(self, job: HostJob) -> None:
        """Forget what a job has at the runners; its segments are marked dead by the caller."""
        for runner in self.slots:
            for id in [id for id, segment in runner.outstanding.items() if segment.chain.job is job]:
                self.ended(runner.slot, id)

    def runner_started(self, slot: int) -> None:
        """A new process has the slot."""
        runner = self.slots[slot]
        runner.alive = True
        runner.generation += 1

    def runner_died(self, slot: int) -> list[Segment]:
        """The slot is empty. Returns what it had, oldest first."""
        runner = self.slots[slot]
        lost = list(runner.outstanding.values())
        runner.alive = False
        runner.outstanding.clear()
        runner.deferred.clear()
        runner.predicted = 0.0
        for key in [key for key in self._batches if key[0] == slot]:
            del self._batches[key]
        return lost


def run_frame(job: HostJob, segments: list[Segment], locate: Callable[[int], protocol.Location]) -> protocol.Run:
    """Segments as one frame; `locate` gives each input's place and counts the mapping."""
    frame = protocol.Run(job.number, [], [], [], [], [], [], [], [], [])
    attempts = any(segment.chain.attempts for segment in segments)
    for segment in segments:
        frame.segments.append(segment.id)
        frame.chains.append(segment.chain.id)
        frame.lengths.append(len(segment.tasks))
        frame.tasks += segment.tasks
        frame.leaves += segment.leaves
        frame.counts.append(len(segment.inputs))
        if segment.inputs:
            frame.inputs += segment.inputs
            frame.locations += map(locate, segment.inputs)
        if attempts:
            frame.attempts += [segment.chain.attempts.get(task, 0) for task in segment.tasks]
    return frame
