"""What a planner returns: where each task runs, in which order, and what is predicted to happen then.

A plan has rows. The first `n_tasks` rows are the tasks of the graph, each once, in the graph's order. Further rows are copies: a task that
runs on one more host, because to compute it there again is cheaper than to transmit what it makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from headrace.graph.topology import Ids
from headrace.scheduler.planners.problem import Floats

NOWHERE = -1
"""The host of a task that is not planned, since it ran before."""


@dataclass(frozen=True, eq=False)
class Placement:
    """The decisions of a plan, by row.

    task (rows): row r < n_tasks is task r; further rows are copies.
    host (rows): index of the host that runs it, or NOWHERE.
    order (rows): a host starts the task with the lowest number first, of those whose inputs it has. No two rows of a host share a number.
    """

    task: Ids
    host: Ids
    order: Ids

    @classmethod
    def of(cls, host: Iterable[int], order: Iterable[int], copies: Iterable[tuple[int, int, int]] = ()) -> Placement:
        """Return the placement of all tasks by host and order, with copies as (task, host, order)."""
        hosts, orders, further = np.array(list(host), dtype=np.int32), np.array(list(order), dtype=np.int32), list(copies)
        if not further:
            return cls(np.arange(len(hosts), dtype=np.int32), hosts, orders)
        extra = np.array(further, dtype=np.int32)
        tasks = np.concatenate((np.arange(len(hosts), dtype=np.int32), extra[:, 0]))
        return cls(tasks, np.concatenate((hosts, extra[:, 1])), np.concatenate((orders, extra[:, 2])))


@dataclass(frozen=True, eq=False)
class Plan:
    """A placement and its predicted execution. Times are in seconds from the start of the job.

    planner: the name of the planner that made it.
    placement: the decisions.
    n_tasks: the number of tasks of the graph; rows from there on are copies.
    runner (rows): index of the runner of its host that executes it; -1 for a task that ran before.
    start, end (rows): when it executes; 0 for a task that ran before.
    makespan: when the last row ends.
    received (hosts): bytes that each host receives from others.
    peak_memory (hosts): most bytes that datasets and running tasks hold on each host at once.
    fits: whether no host needs more memory than it has.
    """

    planner: str
    placement: Placement
    n_tasks: int
    runner: Ids
    start: Floats
    end: Floats
    makespan: float
    received: Floats
    peak_memory: Floats
    fits: bool

    @property
    def bytes_moved(self) -> float:
        """Bytes that all hosts together receive from others."""
        return float(self.received.sum())

    @property
    def host(self) -> Ids:
        """The host of each task of the graph, without copies."""
        return self.placement.host[: self.n_tasks]

    @property
    def n_copies(self) -> int:
        """The number of tasks that run on one more host."""
        return len(self.placement.task) - self.n_tasks
