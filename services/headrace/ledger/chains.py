"""The chains of a job: which tasks, where. Grows through Plan and Assign."""

from __future__ import annotations

from array import array

import numpy as np

from headrace.ledger.columns import Ints, extend, ints, lengthen, numbers, ranges

Few = tuple[int, ...]


class ChainTable:
    """Chain id -> tasks, their attempts, and the host it is placed on (index; -1 if unknown)."""

    __slots__ = ("_attempts", "_host", "_length", "_start", "_tasks")

    def __init__(self, *, starts: Few = (), lengths: Few = (), hosts: Few = (), tasks: Few = ()) -> None:
        self._start = array("q", starts)
        self._length = array("i", lengths)
        self._host = array("h", hosts)
        self._tasks = array("i", tasks)
        self._attempts = array("i", (0,) * len(tasks))

    @classmethod
    def of_one_task(cls) -> ChainTable:
        """The table of a graph of one task, which is one chain, not placed yet."""
        return cls(starts=(0,), lengths=(1,), hosts=(-1,), tasks=(0,))

    def __len__(self) -> int:
        """One more than the highest chain id."""
        return len(self._start)

    def __contains__(self, chain: int) -> bool:
        return self._start_of(chain) >= 0

    def define(self, chains: Ints, lengths: Ints, tasks: Ints, hosts: Ints | int, attempts: Ints | int = 0) -> None:
        """Say what chains are: `lengths` and `hosts` per chain, `tasks` and `attempts` concatenated. A later word replaces an earlier."""
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
        """`define` for one chain of first attempts."""
        self._make_room(chain + 1)
        self._start[chain] = len(self._tasks)
        self._length[chain] = len(tasks)
        self._host[chain] = host
        self._tasks.extend(tasks)
        lengthen(self._attempts, len(self._tasks), 0)

    def place(self, chain: int, host: int) -> None:
        """Say that a known chain is placed there."""
        self._host[chain] = host

    def known(self, chains: Ints) -> Ints:
        """Those of the chains that are in the table."""
        inside = chains[(chains >= 0) & (chains < len(self._start))]
        return inside[numbers(self._start)[inside] >= 0]

    def lengths(self, chains: Ints) -> Ints:
        """How many tasks each of some known chains has."""
        return numbers(self._length)[chains]

    def expand(self, chains: Ints) -> tuple[Ints, Ints]:
        """The tasks of known chains, concatenated, and their attempts."""
        slots = self._slots(chains)
        return numbers(self._tasks)[slots], numbers(self._attempts)[slots]

    def one(self, chain: int) -> tuple[list[int], list[int]]:
        """The tasks of a chain and their attempts; empty if it is unknown."""
        start = self._start_of(chain)
        if start < 0:
            return [], []
        end = start + self._length[chain]
        return self._tasks[start:end].tolist(), self._attempts[start:end].tolist()

    def tasks_of(self, chain: int) -> list[int]:
        """The tasks of a chain, in the order in which they run; empty if it is unknown."""
        start = self._start_of(chain)
        return self._tasks[start : start + self._length[chain]].tolist() if start >= 0 else []

    def host_of(self, chain: int) -> int:
        """Index of the host that a chain is placed on; -1 if it is unknown."""
        return self._host[chain] if 0 <= chain < len(self._host) else -1

    def _start_of(self, chain: int) -> int:
        return self._start[chain] if 0 <= chain < len(self._start) else -1

    def _make_room(self, length: int) -> None:
        for column in (self._start, self._length, self._host):
            lengthen(column, length, -1)

    def _slots(self, chains: Ints) -> Ints:
        return ranges(numbers(self._start)[chains], numbers(self._length)[chains])

    def _same(self, chains: Ints, lengths: Ints, tasks: Ints) -> bool:
        """Whether the table says the same already: every chain of a plan is named again when it is assigned."""
        starts = numbers(self._start)[chains]
        if (starts < 0).any() or not np.array_equal(numbers(self._length)[chains], lengths):
            return False
        return np.array_equal(numbers(self._tasks)[ranges(starts, lengths)], tasks)


def consecutive(first: int, count: int) -> Ints:
    """The ids of a plan part's chains."""
    return ints(range(first, first + count)) if count < 8 else np.arange(first, first + count)
