"""The chains of a job that are placed on one host and not released yet, in plan order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Topology
from headrace.ledger import ChainTable
from headrace.ledger.columns import Ints
from headrace.scheduler.inputs import outside


class Release(NamedTuple):
    """Consecutive chains of a backlog. inputs: the datasets that each takes from outside itself, in the order of its tasks."""

    chains: Ints
    lengths: Ints
    tasks: Ints
    inputs: Ints

    @classmethod
    def of_one_task(cls) -> Release:
        """Return the only chain of a graph with one task."""
        return _ONE_TASK


_ONE_TASK = Release(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64))


class Backlog:
    """A queue of chains, with their tasks and inputs from outside as columns. Chains are taken from the front."""

    def __init__(self, topology: Topology, chains: Ints, lengths: Ints, tasks: Ints) -> None:
        """chains: ids in ascending order. lengths: the number of tasks of each chain. tasks: those of all chains, concatenated."""
        self.chains = chains
        self._lengths = lengths
        self._tasks = tasks
        taken = outside(topology, lengths, tasks)
        self._inputs = taken.datasets
        self._task_end = np.concatenate(([0], np.cumsum(self._lengths)))
        self._input_end = np.concatenate(([0], np.cumsum(taken.counts)))
        self._next = 0

    @classmethod
    def of(cls, topology: Topology, table: ChainTable, chains: Ints) -> Backlog:
        """Make a backlog of chains that are in the ledger's table."""
        return cls(topology, chains, table.lengths(chains), table.expand(chains)[0])

    @property
    def n_tasks(self) -> int:
        """The number of tasks in the backlog."""
        return int(self._task_end[-1] - self._task_end[self._next])

    def rest(self) -> Ints:
        """Return the ids of the chains in the backlog."""
        return self.chains[self._next :]

    @property
    def first(self) -> int:
        """The id of the chain at the front."""
        return int(self.chains[self._next])

    def within(self, tasks: int, before: int) -> int:
        """Count the chains at the front that may be taken: those with ids below `before`, and more up to `tasks` tasks in total."""
        first = max(self._next, int(np.searchsorted(self.chains, before)))
        room = self._task_end[first] + max(0, tasks - int(self._task_end[first] - self._task_end[self._next]))
        return int(np.searchsorted(self._task_end, room, side="right")) - 1 - self._next

    def take_chains(self, count: int, integers: int) -> list[Release]:
        """Take chains from the front, in parts of about `integers` integers each. Only a single chain with more makes a larger part."""
        stop, parts = self._next + count, []
        weight = self._task_end + self._input_end + 2 * np.arange(len(self._task_end))
        while self._next < stop:
            end = int(np.searchsorted(weight, weight[self._next] + integers, side="right")) - 1
            parts.append(self._slice(self._next, min(stop, max(end, self._next + 1))))
            self._next += len(parts[-1].chains)
        return parts

    def _slice(self, first: int, last: int) -> Release:
        tasks = slice(self._task_end[first], self._task_end[last])
        inputs = slice(self._input_end[first], self._input_end[last])
        return Release(self.chains[first:last], self._lengths[first:last], self._tasks[tasks], self._inputs[inputs])
