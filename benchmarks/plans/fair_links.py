"""Transfers that share links fairly, in simulated time.

Each host has one link up and one link down. At any moment the transfers have the rates of max-min fairness: no transfer can go faster
without slowing down one that is not faster than it. Progressive filling finds them: all rates grow together, and those of a link stop
growing when the link is full.

All transfers between the same two hosts have the same rate. So each pair of hosts has one counter of the bytes that every transfer between
them got since the start, and a transfer ends when the counter reaches its mark.
"""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

TIE = 1e-12
"""Relative difference below which two moments, or two shares of a link, are the same: rounding makes them differ."""


Key = TypeVar("Key")


class FairLinks(Generic[Key]):
    """The transfers between hosts. bandwidth: bytes per second of each link, in each direction."""

    def __init__(self, hosts: int, bandwidth: float) -> None:
        self._bandwidth = bandwidth
        self._count = np.zeros((hosts, hosts))
        self._rate = np.zeros((hosts, hosts))
        self._served = np.zeros((hosts, hosts))
        self._next = np.full((hosts, hosts), math.inf)
        """The lowest mark of each pair."""
        self._marks: dict[tuple[int, int], list[tuple[float, int, Key]]] = {}
        self._now = 0.0
        self._started = 0
        self._stale = False

    def start(self, source: int, target: int, nbytes: float, key: Key) -> None:
        """Start a transfer now. `key` names it when it ends."""
        pair = source, target
        marks = self._marks.setdefault(pair, [])
        heapq.heappush(marks, (self._served[pair] + nbytes, self._started, key))
        self._started += 1
        self._next[pair] = marks[0][0]
        self._count[pair] += 1
        self._stale = True

    def next_end(self) -> float:
        """Return the time at which the next transfer ends unless another one starts before; infinity if there is no transfer."""
        if not self._marks:
            return math.inf
        self._refresh()
        return self._now + max(0.0, float(self._left().min()))

    def advance(self, now: float) -> list[Key]:
        """Let time pass, at most until `next_end`, and return the transfers that ended, in the order in which they started."""
        self._refresh()
        ended: list[tuple[int, Key]] = []
        if self._marks:
            left = self._left()
            due = left <= (now - self._now) + TIE * max(now, 1.0)
            self._served += self._rate * (now - self._now)
            for source, target in zip(*np.nonzero(due), strict=True):
                ended += self._ended((int(source), int(target)))
        self._now = now
        return [key for _, key in sorted(ended, key=lambda end: end[0])]

    def _ended(self, pair: tuple[int, int]) -> list[tuple[int, Key]]:
        """Remove the transfers of a pair whose next one is due."""
        marks, found = self._marks[pair], []
        reached = max(marks[0][0], float(self._served[pair])) * (1 + TIE)
        while marks and marks[0][0] <= reached:
            found.append(heapq.heappop(marks)[1:])
        self._count[pair] -= len(found)
        self._stale = True
        if marks:
            self._next[pair] = marks[0][0]
        else:  # a pair that rests starts again at 0, so that marks stay small and exact
            del self._marks[pair]
            self._next[pair], self._served[pair] = math.inf, 0.0
        return found

    def _left(self) -> Floats:
        """Seconds until the next transfer of each pair ends."""
        with np.errstate(divide="ignore", invalid="ignore"):
            left: Floats = np.where(self._count > 0, (self._next - self._served) / self._rate, math.inf)
        return left

    def _refresh(self) -> None:
        if self._stale:
            self._rate = fair_rates(self._count, self._bandwidth)
            self._stale = False


def fair_rates(count: Floats, bandwidth: float) -> Floats:
    """Return the max-min fair rate of one transfer of each pair of hosts.

    count (hosts, hosts): the number of transfers from each host (row) to each other (column).
    bandwidth: bytes per second of each host's link up, and of its link down.

    A link whose share is not above the share of any link that its transfers use as well is full before those are, so that its transfers get
    this share. Each round finds all such links, takes their transfers away, and goes on with what is left of the others.
    """
    rate = np.zeros_like(count)
    open_ = count > 0
    up, down = np.full(len(count), bandwidth), np.full(len(count), bandwidth)
    while open_.any():
        waiting = np.where(open_, count, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            share_up = np.where(open_.any(axis=1), up / waiting.sum(axis=1), math.inf)
            share_down = np.where(open_.any(axis=0), down / waiting.sum(axis=0), math.inf)
        smaller = np.minimum(share_up[:, None], share_down[None, :])
        of_up = np.where(open_, smaller, math.inf).min(axis=1)
        of_down = np.where(open_, smaller, math.inf).min(axis=0)
        full_up, full_down = share_up <= of_up * (1 + TIE), share_down <= of_down * (1 + TIE)
        filled = open_ & (full_up[:, None] | full_down[None, :])
        rate[filled] = smaller[filled]
        used = np.where(filled, count * rate, 0.0)
        up, down = np.maximum(up - used.sum(axis=1), 0.0), np.maximum(down - used.sum(axis=0), 0.0)
        open_ &= ~filled
    return rate
