"""The limited resources of a host, as its tasks declare them: which chains hold them, and which segments wait for them.

A segment that needs resources is handed to a runner only when they are free, and its chain holds them while its segments are at the runner.
They are free again once the runner has stopped using them: it reported that the last of the segments ended or that one failed, it closed
their job, or it died. It is not enough that the job is over, because its tasks still run for a moment.

Waiting segments start in plan order, and a later one takes nothing of a resource that an earlier one waits for. So no segment starves, and
each waits only for resources that a running task holds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from headrace.graph.resources import Resources, fits
from headrace.worker.agent.jobs import Chain, Segment

Ready = tuple[int, int, Segment]
"""A ready segment, preceded by its sort key: plan order, then its id."""


class Hold:
    """The resources that a chain holds at a runner. segments: ids of those that the runner has not ended."""

    __slots__ = ("need", "segments", "slot")

    def __init__(self, slot: int, need: Resources) -> None:
        self.slot = slot
        self.need = need
        self.segments: set[int] = set()


class HostResources:
    """The resources of one host. has: the total amounts, by name."""

    def __init__(self, has: Resources) -> None:
        self.has = has
        self._holds: dict[Chain, Hold] = {}
        self._chain_of: dict[int, Chain] = {}
        self._waiting: dict[tuple[tuple[str, float], ...], list[Ready]] = {}

    # --- waiting segments -------------------------------------------------------------------------------------------------

    def takes(self, segment: Segment) -> bool:
        """Let a ready segment wait here if it needs resources that its chain does not hold. Return whether it waits here."""
        need = _need(segment.chain)
        if not need or segment.chain in self._holds:
            return False
        self.again([(segment.chain.order, segment.id, segment)])
        return True

    def waits(self, segment: Segment) -> bool:
        """Return whether a segment waits for resources."""
        return any(item[2] is segment for heap in self._waiting.values() for item in heap)

    def first(self) -> Ready | None:
        """Remove and return the first waiting segment, in plan order, for which there are enough resources; None if there is none."""
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
        """Let segments wait (again)."""
        for item in items:
            heapq.heappush(self._waiting.setdefault(tuple(_need(item[2].chain).items()), []), item)

    def _kinds(self) -> list[tuple[tuple[str, float], ...]]:
        """Return the different needs of the waiting segments."""
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

    # --- holds ------------------------------------------------------------------------------------------------------------

    def sent(self, segment: Segment, slot: int) -> None:
        """Take the resources of a segment that is handed to a runner."""
        need = _need(segment.chain)
        if need:
            hold = self._holds.setdefault(segment.chain, Hold(slot, need))
            hold.segments.add(segment.id)
            self._chain_of[segment.id] = segment.chain

    def through(self, ids: Iterable[int]) -> None:
        """Release the resources of segments that ended, or that no runner will execute."""
        for id in ids:
            chain = self._chain_of.pop(id, None)
            if chain is not None:
                hold = self._holds[chain]
                hold.segments.discard(id)
                if not hold.segments:
                    del self._holds[chain]

    def failed(self, ids: Iterable[int]) -> None:
        """Release the resources of chains with a failed task: the runner executes no more of them."""
        for id in ids:
            chain = self._chain_of.get(id)
            if chain is not None:
                self.through(list(self._holds[chain].segments))

    def held(self, slot: int, number: int) -> list[Hold]:
        """Return the resources that a runner holds for a job, given by its number."""
        return [hold for chain, hold in self._holds.items() if hold.slot == slot and chain.job.number == number]

    def closed(self, slot: int, number: int) -> None:
        """Release what a runner holds for a job, given by its number."""
        self._release(self.held(slot, number))

    def died(self, slot: int) -> None:
        """Release all that a dead runner holds."""
        self._release([hold for hold in self._holds.values() if hold.slot == slot])

    def _release(self, holds: list[Hold]) -> None:
        for hold in holds:
            self.through(list(hold.segments))


def _need(chain: Chain) -> Resources:
    """Return the resources that a chain needs. All of its tasks need the same."""
    needs = chain.job.needs
    return needs[chain.job.function[chain.segments[0].tasks[0]]] if needs is not None and chain.segments else {}
