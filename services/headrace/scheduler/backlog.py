"""The chains of a job that are placed on one host and not released yet, in plan order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Topology
from headrace.ledger import ChainTable
from headrace.ledger.columns import Ints
from headrace.scheduler.inputs import outside


class Release(NamedTuple):
    """Consecutive chains of a backlog. inputs: the datasets that they take from outside themselves, tasks and inputs in order."""

    chains: Ints
    lengths: Ints
    tasks: Ints
    inputs: Ints

    @classmethod
    def of_one_task(cls) -> Release:
        """The only chain of a graph of one task."""
        return _ONE_TASK


_ONE_TASK = Release(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64))


class Backlog:
    """Chains with their tasks and outside inputs as columns; taken from the front."""

    def __init__(self, topology: Topology, chains: Ints, lengths: Ints, tasks: Ints) -> None:
        """chains: ids in ascending order. lengths: tasks per chain. tasks: concatenated."""
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
        """A backlog of chains that are in the ledger's table."""
        return cls(topology, chains, table.lengths(chains), table.expand(chains)[0])

    @property
    def n_tasks(self) -> int:
        """Tasks still in the backlog."""
        return int(self._task_end[-1] - self._task_end[self._next])

    def rest(self) -> Ints:
        """Ids of the chains still in the backlog."""
        return self.chains[self._next :]

    @property
    def first(self) -> int:
        """Id of the chain at the front."""
        return int(self.chains[self._next])

    def within(self, tasks: int, before: int) -> int:
        """How many chains from the front may be taken: those with ids below `before`, then as many as have no more than `tasks` tasks."""
        first = max(self._next, int(np.searchsorted(self.chains, before)))
        room = self._task_end[first] + max(0, tasks - int(self._task_end[first] - self._task_end[self._next]))
        return int(np.searchsorted(self._task_end, room, side="right")) - 1 - self._next

    def take_chains(self, count: int, integers: int) -> list[Release]:
        """Takes chains from the front, in parts of about `integers` integers each (more only where one chain alone has more)."""
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
