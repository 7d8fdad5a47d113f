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

from headrace.graph.resources import Resources, fits
from headrace.worker.agent.jobs import Chain, Segment

Ready = tuple[int, int, Segment]
"""A ready segment behind what it is ordered by: plan order, then its id."""


class Hold:
    """What a chain holds at a runner. segments: ids of those that the runner is not known to be through with."""

    __slots__ = ("need", "segments", "slot")

    def __init__(self, slot: int, need: Resources) -> None:
        self.slot = slot
        self.need = need
        self.segments: set[int] = set()


class HostResources:
    """The resources of one host. has: what there is, by name."""

    def __init__(self, has: Resources) -> None:
        self.has = has
        self._holds: dict[Chain, Hold] = {}
        self._chain_of: dict[int, Chain] = {}
        self._waiting: dict[tuple[tuple[str, float], ...], list[Ready]] = {}

    # --- who waits --------------------------------------------------------------------------------------------------------

    def takes(self, segment: Segment) -> bool:
        """Whether a ready segment needs something, and so waits here from now on, unless its chain holds it already."""
        need = _need(segment.chain)
        if not need or segment.chain in self._holds:
            return False
        self.again([(segment.chain.order, segment.id, segment)])
        return True

    def waits(self, segment: Segment) -> bool:
        """Whether a segment waits for what it needs."""
        return any(item[2] is segment for heap in self._waiting.values() for item in heap)

    def first(self) -> Ready | None:
        """The first of those that wait, in plan order, for which there is enough. It is no longer among them."""
        if not self._waiting:
            return None
        free, wanted = self._free(), set[str]()
        for key in sorted(self._kinds(), key=lambda key: self._waiting[key][0][:2]):
            need = dict(key)
            if not wanted.intersection(need) and fits(need, free):
                return heapq.heappop(self._waiting[key])
            wanted.update(need)
        return None

    def again(self, items: Iterable[Ready]) -> None:
        """These wait (again)."""
        for item in items:
            heapq.heappush(self._waiting.setdefault(tuple(_need(item[2].chain).items()), []), item)

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

    def sent(self, segment: Segment, slot: int) -> None:
        """A segment is handed to a runner."""
        need = _need(segment.chain)
        if need:
            hold = self._holds.setdefault(segment.chain, Hold(slot, need))
            hold.segments.add(segment.id)
            self._chain_of[segment.id] = segment.chain

    def through(self, ids: Iterable[int]) -> None:
        """Segments were executed to their end, or never will be."""
        for id in ids:
            chain = self._chain_of.pop(id, None)
            if chain is not None:
                hold = self._holds[chain]
                hold.segments.discard(id)
                if not hold.segments:
                    del self._holds[chain]

    def failed(self, ids: Iterable[int]) -> None:
        """A task of segments failed: the runner executes nothing more of their chains."""
        for id in ids:
            chain = self._chain_of.get(id)
            if chain is not None:
                self.through(list(self._holds[chain].segments))

    def held(self, slot: int, number: int) -> list[Hold]:
        """What a runner has for a job, by its number."""
        return [hold for chain, hold in self._holds.items() if hold.slot == slot and chain.job.number == number]

    def closed(self, slot: int, number: int) -> None:
        """A runner is through with a job, by its number."""
        self._release(self.held(slot, number))

    def died(self, slot: int) -> None:
        """A runner is no more."""
        self._release([hold for hold in self._holds.values() if hold.slot == slot])

    def _release(self, holds: list[Hold]) -> None:
        for hold in holds:
            self.through(list(hold.segments))


def _need(chain: Chain) -> Resources:
    """What a chain needs: all of its tasks need the same."""
    needs = chain.job.needs
    return needs[chain.job.function[chain.segments[0].tasks[0]]] if needs is not None and chain.segments else {}
