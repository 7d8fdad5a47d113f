"""The chains of a job: which tasks, where. Grows through Plan and Assign."""

from __future__ import annotations

import numpy as np

from headrace.ledger.columns import Growing, Ints, ints, ranges

Few = tuple[int, ...]


class ChainTable:
    """Chain id -> tasks, their attempts, and the host it is placed on (index; -1 if unknown)."""

    __slots__ = ("_attempts", "_host", "_length", "_start", "_tasks")

    def __init__(self, *, starts: Few = (), lengths: Few = (), hosts: Few = (), tasks: Few = ()) -> None:
        self._start = Growing(np.int64, starts)
        self._length = Growing(np.int32, lengths)
        self._host = Growing(np.int16, hosts)
        self._tasks = Growing(np.int32, tasks)
        self._attempts = Growing(np.int16, (0,) * len(tasks))

    @classmethod
    def of_one_task(cls) -> ChainTable:
        """The table of a graph of one task, which is one chain, not placed yet."""
        return cls(starts=(0,), lengths=(1,), hosts=(-1,), tasks=(0,))

    def __len__(self) -> int:
        """One more than the highest chain id."""
        return self._start.length

    def __contains__(self, chain: int) -> bool:
        return self._start.get(chain) >= 0

    def define(self, chains: Ints, lengths: Ints, tasks: Ints, hosts: Ints | int, attempts: Ints | int = 0) -> None:
        """Say what chains are: `lengths` and `hosts` per chain, `tasks` and `attempts` concatenated. A later word replaces an earlier."""
        if not len(chains):
            return
        self._make_room(int(chains.max()) + 1)
        if self._same(chains, lengths, tasks):
            self._attempts.array[self._slots(chains)] = attempts
        else:
            ends = np.cumsum(lengths) + self._tasks.length
            self._start.array[chains] = ends - lengths
            self._length.array[chains] = lengths
            self._tasks.extend(tasks)
            before = self._attempts.length
            self._attempts.resize(self._tasks.length, 0)
            self._attempts.array[before:] = attempts
        self._host.array[chains] = hosts

    def define_one(self, chain: int, tasks: list[int], host: int) -> None:
        """`define` for one chain of first attempts."""
        self._make_room(chain + 1)
        self._start.array[chain] = self._tasks.length
        self._length.array[chain] = len(tasks)
        self._host.array[chain] = host
        self._tasks.extend(tasks)
        self._attempts.resize(self._tasks.length, 0)

    def place(self, chain: int, host: int) -> None:
        """Say that a known chain is placed there."""
        self._host.array[chain] = host

    def known(self, chains: Ints) -> Ints:
        """Those of the chains that are in the table."""
        inside = chains[(chains >= 0) & (chains < self._start.length)]
        return inside[self._start.array[inside] >= 0]

    def lengths(self, chains: Ints) -> Ints:
        """How many tasks each of some known chains has."""
        return self._length.array[chains]

    def expand(self, chains: Ints) -> tuple[Ints, Ints]:
        """The tasks of known chains, concatenated, and their attempts."""
        slots = self._slots(chains)
        return self._tasks.array[slots], self._attempts.array[slots]

    def one(self, chain: int) -> tuple[list[int], list[int]]:
        """The tasks of a chain and their attempts; empty if it is unknown."""
        start = self._start.get(chain)
        if start < 0:
            return [], []
        end = start + self._length.get(chain)
        return self._tasks.array[start:end].tolist(), self._attempts.array[start:end].tolist()

    def tasks_of(self, chain: int) -> list[int]:
        """The tasks of a chain, in the order in which they run; empty if it is unknown."""
        start = self._start.get(chain)
        tasks: list[int] = self._tasks.array[start : start + self._length.get(chain)].tolist() if start >= 0 else []
        return tasks

    def host_of(self, chain: int) -> int:
        """Index of the host that a chain is placed on; -1 if it is unknown."""
        return self._host.get(chain)

    def _make_room(self, length: int) -> None:
        for column in (self._start, self._length, self._host):
            column.resize(length, -1)

    def _slots(self, chains: Ints) -> Ints:
        return ranges(self._start.array[chains], self._length.array[chains])

    def _same(self, chains: Ints, lengths: Ints, tasks: Ints) -> bool:
        """Whether the table says the same already: every chain of a plan is named again when it is assigned."""
        starts = self._start.array[chains]
        if (starts < 0).any() or not np.array_equal(self._length.array[chains], lengths):
            return False
        return np.array_equal(self._tasks.array[ranges(starts, lengths)], tasks)


def consecutive(first: int, count: int) -> Ints:
    """The ids of a plan part's chains."""
    return ints(range(first, first + count)) if count < 8 else np.arange(first, first + count)
