"""Segments that run alone: under each of them a host was lost or ran out of memory, and nothing else is to suffer from that, or add to it.

One that is ready waits until no runner executes anything; then it starts, and until it has ended nothing else does. What runners execute
ends by itself, for it has all that it takes; so nobody waits for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from headrace.worker.agent.jobs import Segment
from headrace.worker.agent.slots import RunnerSlot


class Alone:
    """Those of one host. prepare: as in `Dispatcher`."""

    def __init__(self, prepare: Callable[[Segment], bool]) -> None:
        self._prepare = prepare
        self._waiting: list[tuple[int, int, Segment]] = []
        self._running: Segment | None = None
        self.in_use = False
        """Whether there may be anything here: a segment that waits, runs or is kept."""
        self.kept: list[Segment] = []
        """Ready segments that go on at the runner that has their chain, once others may start."""

    def __bool__(self) -> bool:
        """Whether nothing else may start now."""
        if self._running is not None and self._running.over:
            self._running = None
        while self._waiting and self._waiting[0][2].over:
            heapq.heappop(self._waiting)
        found = bool(self._waiting) or self._running is not None
        self.in_use = found or bool(self.kept)
        return found

    def add(self, segment: Segment) -> None:
        """A segment is ready that runs alone."""
        self.in_use = True
        heapq.heappush(self._waiting, (segment.chain.order, segment.id, segment))

    def keep(self, segment: Segment) -> None:
        """Another segment is ready, which goes on at the runner that has its chain: not yet."""
        self.in_use = True
        self.kept.append(segment)

    def released(self) -> Iterable[Segment]:
        """What was kept, once others may start again."""
        kept, self.kept = self.kept, []
        return kept

    def next(self, slots: list[RunnerSlot]) -> Segment | None:
        """The segment to start now, if it may: the first that is ready, once no runner executes anything."""
        if self._running is not None or not self._waiting or any(runner.busy for runner in slots):
            return None
        segment = heapq.heappop(self._waiting)[2]
        if not self._prepare(segment):
            return None
        self._running = segment
        return segment
