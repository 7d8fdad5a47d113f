"""The choice of the runner for each segment, and of the time: plan order, short queues, and one runner per chain.

A busy runner gets only segments that it will begin within milliseconds, by the times that their functions took so far. All others wait in
the agent, where any runner can take them. A function that never ran may take long, so nothing is queued behind it. A runner that executes a
segment for longer than predicted gets no more work, and its queued segments are recalled once another runner is idle, see `recalls`.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable

from headrace.worker.agent import recalls
from headrace.worker.agent.alone import Alone
from headrace.worker.agent.jobs import Chain, HostJob, Segment
from headrace.worker.agent.resources import HostResources, Ready
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.settings import Settings

LOOK_AHEAD = 64
"""Under pressure, the number of ready segments that are searched for one that frees memory."""

TURN_SECONDS = 2e-5
"""Predicted work that a runner is given in one turn beyond the work of the next runner: a few of the shortest tasks, or one of any
other."""


class Dispatcher:
    """The ready segments of a host and its runners."""

    def __init__(
        self, settings: Settings, prepare: Callable[[Segment], bool], may_park: Callable[[], bool], spilled: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._prepare = prepare
        """Pins a segment's inputs in memory. Returns False if some are on disk: the segment then becomes ready again later."""
        self._may_park = may_park
        self._spilled = spilled
        """Returns whether anything is on disk."""
        self.now = 0.0
        """The time, by the clock of `Agent.tick`."""
        self.slots = [RunnerSlot(slot) for slot in range(settings.runners)]
        self._in_order: deque[Ready] = deque()
        self._out_of_order: list[Ready] = []
        """Ready segments in plan order. `_in_order` is a queue: most segments come in plan order. The others go into this heap."""
        self._alone = Alone(prepare)
        self._resources = HostResources(settings.resources) if settings.resources else None
        """The ready segments that need resources of this host; None if the host has no resources."""
        self.queued = False
        """Whether a runner may have several segments. It is set when a runner gets another one, and cleared when no runner has several."""
        self.batched = False
        """Whether `batches` may return something."""

    def ready(self, segments: Iterable[Segment]) -> None:
        """Add segments whose inputs are here. The first of a chain may go to any runner, the others go to the runner of their chain."""
        for segment in segments:
            chain = segment.chain
            if chain.alone and not segment.over:
                self._alone.add(segment)
                continue
            if segment.place and chain.slot >= 0 and self._alone:
                self._alone.keep(segment)
                continue
            if segment.over or segment.place != chain.next or (self._resources is not None and self._resources.takes(segment)):
                continue
            if segment.place and chain.slot >= 0:
                if self._prepare(segment):
                    runner = self.slots[chain.slot]
                    if not runner.outstanding or runner.deferred:
                        self._rouse(runner)
                    self._send(segment, runner)
            else:
                self._push((chain.order, segment.id, segment))

    def holds_back(self, segment: Segment) -> bool:
        """Return whether a ready segment waits for resources or for its turn to run alone, and not just for a runner."""
        return bool(self._alone) or (self._resources is not None and self._resources.waits(segment))

    @property
    def has_ready(self) -> bool:
        """Whether `fill` may have a segment to hand out."""
        return bool(self._in_order or self._out_of_order) or self._alone.in_use or self._resources is not None

    @property
    def crowded(self) -> bool:
        """Whether segments wait for a runner, after `fill`."""
        return bool(self._in_order or self._out_of_order)

    @property
    def idle(self) -> bool:
        """Whether a runner has nothing to execute."""
        return any(runner.alive and not runner.busy for runner in self.slots)

    def _push(self, item: Ready) -> None:
        if not self._in_order or item > self._in_order[-1]:
            self._in_order.append(item)
        else:
            heapq.heappush(self._out_of_order, item)

    def _pop(self) -> Ready:
        """Remove and return the first ready segment in plan order."""
        late, early = self._out_of_order, self._in_order
        if late and (not early or late[0] < early[0]):
            return heapq.heappop(late)
        return early.popleft()

    def fill(self, allowed: Callable[[Segment], bool] | None) -> None:
        """Hand out ready segments in plan order while runners have room. allowed: under pressure, returns whether a segment may start."""
        if self._alone.in_use:
            if self._alone:
                self._start_alone()
                return
            self.ready(self._alone.released())
        if not self.crowded and self._resources is None:
            return
        able = [runner for runner in self.slots if runner.alive and not self._is_held_up(runner)]
        if self._resources is not None:
            self._fill_with_resources(self._resources, able, allowed)
        passed: list[Ready] = []
        while (self._in_order or self._out_of_order) and self._may_park() and len(passed) < LOOK_AHEAD:
            runner, until = self._next_turn(able)
            if runner is None:
                break
            self._hand_out(runner, until, allowed, passed)
        for item in passed:
            heapq.heappush(self._out_of_order, item)
        if self._spilled():
            self._bring_back(allowed)

    def _start_alone(self) -> None:
        """Start a segment that runs alone, if no runner executes anything."""
        runners = [runner for runner in self.slots if runner.alive]
        segment = self._alone.next(self.slots) if runners else None
        if segment is not None:
            self._rouse(runners[0])
            self._send(segment, runners[0])

    def _bring_back(self, allowed: Callable[[Segment], bool] | None) -> None:
        """While runners are busy, begin to read the next segments' inputs from disk: for as many segments as there are runners."""
        next_ones: list[Ready] = []
        while (self._in_order or self._out_of_order) and self._may_park() and len(next_ones) < len(self.slots):
            item = self._pop()
            segment = item[2]
            if not segment.over and ((allowed is not None and not allowed(segment)) or self._prepare(segment)):
                next_ones.append(item)
        for item in next_ones:
            heapq.heappush(self._out_of_order, item)

    def _fill_with_resources(self, resources: HostResources, able: list[RunnerSlot], allowed: Callable[[Segment], bool] | None) -> None:
        """Hand out the segments that need resources before all others, so that the resources are not idle while other segments run."""
        passed: list[Ready] = []
        while self._may_park() and len(passed) < LOOK_AHEAD and (item := resources.first()) is not None:
            segment = item[2]
            runner = self.slots[segment.chain.slot] if segment.place else self._next_turn(able)[0]
            if runner is None or (allowed is not None and not allowed(segment)):
                passed.append(item)
                if runner is None:
                    break
            elif self._prepare(segment):
                self._rouse(runner)
                self._send(segment, runner)
        resources.again(passed)

    def _next_turn(self, able: list[RunnerSlot]) -> tuple[RunnerSlot | None, float]:
        """Return the runner with the least predicted work that has room, or None, and the seconds of work at which its turn ends.

        Among equals, it is the runner with the fewest chains to continue, because a new segment may take long.
        """
        best, least, next_least = None, math.inf, math.inf
        for runner in able:
            if not runner.outstanding or self._has_room(runner):
                if runner.predicted < least or (best is not None and runner.predicted == least and len(runner.kept) < len(best.kept)):
                    best, least, next_least = runner, runner.predicted, least
                elif runner.predicted < next_least:
                    next_least = runner.predicted
        return best, next_least + TURN_SECONDS

    def _has_room(self, runner: RunnerSlot) -> bool:
        waiting = len(runner.outstanding) - len(runner.deferred)
        return not waiting or (runner.predicted < self._settings.queue_seconds and waiting < self._settings.queue_segments)

    def _is_held_up(self, runner: RunnerSlot) -> bool:
        """Return whether a runner executes a segment for longer than predicted, is being recalled, or executes a task of an ended job."""
        if runner.recalling or runner.unclosed:
            return True
        return bool(runner.outstanding) and recalls.overdue_at(runner, self._settings.late_seconds) < self.now

    def _hand_out(self, runner: RunnerSlot, until: float, allowed: Callable[[Segment], bool] | None, passed: list[Ready]) -> None:
        """Give a runner its turn. The turn ends early if a segment must wait for the disk, or if too many segments may not start."""
        self._rouse(runner)
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

    def _rouse(self, runner: RunnerSlot) -> None:
        """Note that an idle runner begins to execute something now."""
        if not runner.busy:
            runner.heard = self.now

    def _send(self, segment: Segment, runner: RunnerSlot) -> None:
        """Put a segment, and the next ones of its chain that are ready, into the runner's next batch."""
        chain = segment.chain
        job = chain.job
        chain.slot = runner.slot
        batch = runner.batches.get(job.number)
        if batch is None:
            batch = runner.batches[job.number] = []
            self.batched = True
        if segment.place:
            runner.kept.discard(chain)
        while True:
            segment.predicted = job.predict(segment.tasks, self._settings.unknown_seconds)
            runner.predicted += segment.predicted
            if runner.outstanding:
                self.queued = True
            runner.outstanding[segment.id] = segment
            if self._resources is not None:
                self._resources.sent(segment, runner.slot)
            batch.append(segment)
            chain.next += 1
            if chain.next == len(chain.segments):
                return
            segment = chain.segments[chain.next]
            if segment.missing or not self._prepare(segment):
                runner.kept.add(chain)
                return

    def batches(self) -> list[tuple[RunnerSlot, int, list[Segment]]]:
        """Return what was handed out since the last call and is not over: runner, job number and segments."""
        found = []
        self.batched = False
        for runner in self.slots:
            if runner.batches:
                batches, runner.batches = runner.batches, {}
                for number, segments in batches.items():
                    alive = [segment for segment in segments if not segment.over]
                    if self._resources is not None and len(alive) < len(segments):
                        self._resources.through(segment.id for segment in segments if segment.over)
                    found += [(runner, number, alive)] if alive else []
        return found

    def ended(self, slot: int, job: HostJob, ids: Iterable[int]) -> list[Segment]:
        """Note that a runner ended segments, well or not. Return those of them that the runner had of this job."""
        ended = self._drop(self.slots[slot], job, ids)
        if ended:
            self.slots[slot].heard = self.now
        return ended

    def _drop(self, runner: RunnerSlot, job: HostJob, ids: Iterable[int]) -> list[Segment]:
        """Remove segments from a runner. Return those that it had."""
        dropped = []
        for id in ids:
            segment = runner.outstanding.get(id)
            if segment is not None and segment.chain.job is job:
                del runner.outstanding[id]
                runner.predicted -= segment.predicted
                dropped.append(segment)
        if not runner.outstanding or runner.predicted < 0:
            runner.predicted = 0.0
        if runner.deferred:
            runner.deferred.difference_update([segment.id for segment in dropped])
        return dropped

    def learned(self, job: HostJob) -> None:
        """Predict the runners' work again, because a function of a job has ended for the first time."""
        for runner in self.slots:
            if runner.outstanding:
                self._predict_again(runner, job)

    def _predict_again(self, runner: RunnerSlot, job: HostJob) -> None:
        for segment in runner.outstanding.values():
            if segment.chain.job is job and segment.predicted >= self._settings.unknown_seconds:
                runner.predicted -= segment.predicted
                segment.predicted = job.predict(segment.tasks, self._settings.unknown_seconds)
                runner.predicted += segment.predicted

    def defer(self, slot: int, segment: Segment) -> None:
        """Let a runner execute other segments while a result of this one waits for memory."""
        runner = self.slots[slot]
        runner.deferred.add(segment.id)
        runner.predicted -= segment.predicted
        segment.predicted = 0.0
        runner.heard = self.now

    # --- recalls ------------------------------------------------------------------------------------------------------

    def overdue(self) -> list[RunnerSlot]:
        """Return the runners that execute a segment for longer than predicted and may have finished others without reporting it.

        Each is returned once, until the agent hears from it again.
        """
        found = [runner for runner in self._overdue() if runner.nudged_at != runner.heard]
        for runner in found:
            runner.nudged_at = runner.heard
        return found

    def to_recall(self) -> list[RunnerSlot]:
        """Return the overdue runners with segments that an idle runner could begin at once."""
        if self.crowded or not self.idle:
            return []
        return [runner for runner in self._overdue() if self._has_behind(runner)]

    def next_look(self) -> float:
        """Return the time at which a runner becomes overdue if the agent does not hear from it before; infinity if there is none."""
        late = self._settings.late_seconds
        return min((due for runner in self._several() if (due := recalls.overdue_at(runner, late)) >= self.now), default=math.inf)

    def _overdue(self) -> list[RunnerSlot]:
        late, now = self._settings.late_seconds, self.now
        return [runner for runner in self._several() if recalls.overdue_at(runner, late) < now]

    def _several(self) -> list[RunnerSlot]:
        """Return the runners with more than one segment to execute. Only these may be overdue."""
        if not self.queued:
            return []
        found = recalls.with_several(self.slots)
        if not found:
            self.queued = any(len(runner.outstanding) > 1 for runner in self.slots)
        return found

    def _has_behind(self, runner: RunnerSlot) -> bool:
        """Return whether a runner may have segments that it has not begun and that could run elsewhere, unless it was just recalled."""
        if runner.recalling or runner.recalled_at == runner.heard:
            return False
        return any(not segment.place and segment is not recalls.head(runner) for segment in runner.outstanding.values())

    def recall(self, runner: RunnerSlot) -> int:
        """Begin a recall of a runner. Return the recall's number."""
        runner.recalls += 1
        runner.recalling, runner.recalled_at = True, runner.heard
        return runner.recalls

    def not_recalled(self, slot: int, number: int) -> None:
        """Note that a recall could not be written to the status page, so that its runner keeps its segments."""
        if self.slots[slot].recalls == number:
            self.slots[slot].recalling = False

    def recalled(self, runner: RunnerSlot, begun: int) -> list[tuple[Chain, list[Segment]]]:
        """Take back the chains that a runner has not begun, with their segments. begun: the number of the last segment that it began."""
        runner.recalling = False
        taken = [(chain, recalls.take_back(runner, chain)) for chain in recalls.behind(runner, begun)]
        for chain, segments in taken:
            ids = [segment.id for segment in segments]
            self._drop(runner, chain.job, ids)
            self.heard(ids, [])
        return taken

    # --- runners ------------------------------------------------------------------------------------------------------

    def heard(self, through: list[int], failed: list[int]) -> None:
        """Free the resources of segments that ended or failed, including segments that the agent has dropped in the meantime."""
        if self._resources is not None:
            self._resources.through(through)
            self._resources.failed(failed)

    def holds_resources(self, slot: int, number: int) -> bool:
        """Return whether resources are held for a job's segments at a runner."""
        return self._resources is not None and bool(self._resources.held(slot, number))

    def closed(self, slot: int, number: int) -> None:
        """Note that a runner executes no task of an ended job any more."""
        self.slots[slot].unclosed.discard(number)
        if self._resources is not None:
            self._resources.closed(slot, number)

    def drop_job(self, job: HostJob) -> None:
        """Forget a job's segments at the runners. The caller has marked the segments as over."""
        for runner in self.slots:
            self._drop(runner, job, list(runner.outstanding))
            runner.kept = {chain for chain in runner.kept if chain.job is not job}

    def runner_started(self, slot: int) -> None:
        """Note that a new process runs in the slot."""
        runner = self.slots[slot]
        runner.alive = True
        runner.generation += 1

    def runner_died(self, slot: int) -> list[Segment]:
        """Note that the slot's process ended. Return the segments that it had, oldest first."""
        runner = self.slots[slot]
        lost = list(runner.outstanding.values())
        if self._resources is not None:
            self._resources.died(slot)
        runner.emptied()
        return lost
