"""Segments that run alone, because their host was lost or ran out of memory during an earlier attempt.

Such a segment waits until no runner executes anything. While it waits or runs, no other segment starts, so that it can neither harm others
nor compete with them for memory. The wait ends, because everything that a running segment needs is already on this host.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from headrace.worker.agent.jobs import Segment
from headrace.worker.agent.slots import RunnerSlot


class Alone:
    """The segments of one host that run alone. prepare: as in `Dispatcher`."""

    def __init__(self, prepare: Callable[[Segment], bool]) -> None:
        self._prepare = prepare
        self._waiting: list[tuple[int, int, Segment]] = []
        self._running: Segment | None = None
        self.in_use = False
        """Whether there may be a segment that waits, runs or is kept."""
        self.kept: list[Segment] = []
        """Ready segments of begun chains, which continue at the runners of their chains once other segments may start."""

    def __bool__(self) -> bool:
        """Return whether no other segment may start now."""
        if self._running is not None and self._running.over:
            self._running = None
        while self._waiting and self._waiting[0][2].over:
            heapq.heappop(self._waiting)
        found = bool(self._waiting) or self._running is not None
        self.in_use = found or bool(self.kept)
        return found

    def add(self, segment: Segment) -> None:
        """Add a ready segment that runs alone."""
        self.in_use = True
        heapq.heappush(self._waiting, (segment.chain.order, segment.id, segment))

    def keep(self, segment: Segment) -> None:
        """Keep a ready segment of a begun chain until other segments may start."""
        self.in_use = True
        self.kept.append(segment)

    def released(self) -> Iterable[Segment]:
        """Return the kept segments, once others may start again."""
        kept, self.kept = self.kept, []
        return kept

    def next(self, slots: list[RunnerSlot]) -> Segment | None:
        """Return the segment to start now, if there is one: the first in plan order, once no runner executes anything."""
        if self._running is not None or not self._waiting or any(runner.busy for runner in slots):
            return None
        segment = heapq.heappop(self._waiting)[2]
        if not self._prepare(segment):
            return None
        self._running = segment
        return segment
