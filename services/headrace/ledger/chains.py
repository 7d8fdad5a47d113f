"""The table of a job's chains: the tasks of each, and its host. Plan and Assign add to it."""

from __future__ import annotations

from array import array

import numpy as np

from headrace.ledger.columns import Ints, extend, ints, lengthen, numbers, ranges

Few = tuple[int, ...]


class ChainTable:
    """For each chain id: the tasks, their attempts, and the index of the host that the chain is placed on (-1 if unknown)."""

    __slots__ = ("_attempts", "_host", "_length", "_start", "_tasks")

    def __init__(self, *, starts: Few = (), lengths: Few = (), hosts: Few = (), tasks: Few = ()) -> None:
        self._start = array("q", starts)
        self._length = array("i", lengths)
        self._host = array("h", hosts)
        self._tasks = array("i", tasks)
        self._attempts = array("i", (0,) * len(tasks))

    @classmethod
    def of_one_task(cls) -> ChainTable:
        """Make the table of a graph with one task: one chain, not placed yet."""
        return cls(starts=(0,), lengths=(1,), hosts=(-1,), tasks=(0,))

    def __len__(self) -> int:
        """Return the highest chain id plus one."""
        return len(self._start)

    def __contains__(self, chain: int) -> bool:
        return self._start_of(chain) >= 0

    def define(self, chains: Ints, lengths: Ints, tasks: Ints, hosts: Ints | int, attempts: Ints | int = 0) -> None:
        """Define chains, or define them anew. lengths, hosts: one for each chain. tasks, attempts: those of all chains, concatenated."""
        if not len(chains):
            return
        self._make_room(int(chains.max()) + 1)
        if self._same(chains, lengths, tasks):
            numbers(self._attempts)[self._slots(chains)] = attempts
        else:
            before = len(self._tasks)
            numbers(self._start)[chains] = np.cumsum(lengths) + before - lengths
            numbers(self._length)[chains] = lengths
            extend(self._tasks, tasks)
            lengthen(self._attempts, len(self._tasks), 0)
            numbers(self._attempts)[before:] = attempts
        numbers(self._host)[chains] = hosts

    def define_one(self, chain: int, tasks: list[int], host: int) -> None:
        """Define one chain of first attempts."""
        self._make_room(chain + 1)
        self._start[chain] = len(self._tasks)
        self._length[chain] = len(tasks)
        self._host[chain] = host
        self._tasks.extend(tasks)
        lengthen(self._attempts, len(self._tasks), 0)

    def place(self, chain: int, host: int) -> None:
        """Place a known chain on another host."""
        self._host[chain] = host

    def known(self, chains: Ints) -> Ints:
        """Return those of the chains that are in the table."""
        inside = chains[(chains >= 0) & (chains < len(self._start))]
        return inside[numbers(self._start)[inside] >= 0]

    def lengths(self, chains: Ints) -> Ints:
        """Return the number of tasks of each of these known chains."""
        return numbers(self._length)[chains]

    def expand(self, chains: Ints) -> tuple[Ints, Ints]:
        """Return the tasks of known chains, concatenated, and their attempts."""
        slots = self._slots(chains)
        return numbers(self._tasks)[slots], numbers(self._attempts)[slots]

    def one(self, chain: int) -> tuple[list[int], list[int]]:
        """Return the tasks of a chain and their attempts. Both are empty if the chain is unknown."""
        start = self._start_of(chain)
        if start < 0:
            return [], []
        end = start + self._length[chain]
        return self._tasks[start:end].tolist(), self._attempts[start:end].tolist()

    def tasks_of(self, chain: int) -> list[int]:
        """Return the tasks of a chain in the order in which they run. Empty if the chain is unknown."""
        start = self._start_of(chain)
        return self._tasks[start : start + self._length[chain]].tolist() if start >= 0 else []

    def host_of(self, chain: int) -> int:
        """Return the index of the host that a chain is placed on, or -1 if it is unknown."""
        return self._host[chain] if 0 <= chain < len(self._host) else -1

    def _start_of(self, chain: int) -> int:
        return self._start[chain] if 0 <= chain < len(self._start) else -1

    def _make_room(self, length: int) -> None:
        for column in (self._start, self._length, self._host):
            lengthen(column, length, -1)

    def _slots(self, chains: Ints) -> Ints:
        return ranges(numbers(self._start)[chains], numbers(self._length)[chains])

    def _same(self, chains: Ints, lengths: Ints, tasks: Ints) -> bool:
        """Whether the table has these chains with these tasks already. That is usual: an assignment repeats the chains of the plan."""
        starts = numbers(self._start)[chains]
        if (starts < 0).any() or not np.array_equal(numbers(self._length)[chains], lengths):
            return False
        return np.array_equal(numbers(self._tasks)[ranges(starts, lengths)], tasks)


def consecutive(first: int, count: int) -> Ints:
    """Return `count` ids from `first` on: those of the chains in one part of a plan."""
    return ints(range(first, first + count)) if count < 8 else np.arange(first, first + count)
