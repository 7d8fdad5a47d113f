"""What a host has a limited amount of, as its tasks declare it: who uses it, and who waits for it.

A segment that needs something is handed to a runner only when that is free, and its chain holds it while segments of it are at the runner.
What is held is free again when the runner is known to be through: it said that the last of them ended, or that one failed; it closed their
job; or it died. That a job is over is not enough, for its tasks still run for a moment.

Those who wait start in plan order, and none that comes later in it takes anything of what one that waits needs: so nobody starves, and
nobody waits but for what is held by a task that runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from headrace.graph.resources import Resources, fits
from headrace.worker.jobs import Chain, Segment

Ready = tuple[int, int, Segment]
"""A ready segment behind what it is ordered by: plan order, then its id."""


class Hold(NamedTuple):
    """What a chain holds at a runner."""

    slot: int
    need: Resources


class Scarce:
    """The resources of one host. has: what there is, by name."""

    def __init__(self, has: Resources) -> None:
        self.has = has
        self._holds: dict[Chain, Hold] = {}
        self._waiting: dict[tuple[tuple[str, float], ...], list[Ready]] = {}

    # --- who waits --------------------------------------------------------------------------------------------------------

    def takes(self, segment: Segment) -> bool:
        """Whether a ready segment needs something, and so waits here from now on, unless its chain holds it already."""
        need = _need(segment.chain)
        if not need or segment.chain in self._holds:
            return False
        heapq.heappush(self._waiting.setdefault(tuple(need.items()), []), (segment.chain.order, segment.id, segment))
        return True

    def first(self) -> Ready | None:
        """The first of those that wait, in plan order, for which there is enough. It is no longer among them."""
        free, wanted = self._free(), set[str]()
        for key in sorted(self._kinds(), key=lambda key: self._waiting[key][0][:2]):
            need = dict(key)
            if not wanted.intersection(need) and fits(need, free):
                return heapq.heappop(self._waiting[key])
            wanted.update(need)
        return None

    def again(self, items: Iterable[Ready]) -> None:
        """These were the first, and may not start yet."""
        for item in items:
            heapq.heappush(self._waiting[tuple(_need(item[2].chain).items())], item)

    def _kinds(self) -> list[tuple[tuple[str, float], ...]]:
        """The needs that somebody waits for."""
        for key, heap in list(self._waiting.items()):
            while heap and (heap[0][2].over or heap[0][2].place != heap[0][2].chain.next):
                heapq.heappop(heap)
            if not heap:
                del self._waiting[key]
        return list(self._waiting)

    def _free(self) -> dict[str, float]:
        free = dict(self.has)
        for hold in self._holds.values():
            for name, amount in hold.need.items():
                free[name] -= amount
        return free

    # --- who has it -------------------------------------------------------------------------------------------------------

    def hold(self, chain: Chain, slot: int) -> None:
        """A segment of a chain is handed to a runner."""
        need = _need(chain)
        if need:
            self._holds[chain] = Hold(slot, need)

    def ended(self, segments: Iterable[Segment]) -> None:
        """A runner executed segments to their end. A chain of which it has no more now lets go."""
        for segment in segments:
            chain = segment.chain
            if chain in self._holds and chain.ended == chain.next:
                del self._holds[chain]

    def failed(self, chain: Chain) -> None:
        """A runner said that a task of a chain failed: it executes nothing more of it."""
        self._holds.pop(chain, None)

    def closed(self, slot: int, number: int) -> None:
        """A runner is through with a job, by its number."""
        self._release([chain for chain, hold in self._holds.items() if hold.slot == slot and chain.job.number == number])

    def died(self, slot: int) -> None:
        """A runner is no more."""
        self._release([chain for chain, hold in self._holds.items() if hold.slot == slot])

    def _release(self, chains: list[Chain]) -> None:
        for chain in chains:
            del self._holds[chain]


def _need(chain: Chain) -> Resources:
    """What a chain needs: all of its tasks need the same."""
    needs = chain.job.needs
    return needs[chain.job.function[chain.segments[0].tasks[0]]] if needs is not None and chain.segments else {}
