"""What a planner is given: a graph, the hosts and links that it runs on, and what its tasks and datasets cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from headrace.graph.needs import Needs
from headrace.graph.resources import Resources, fits
from headrace.graph.topology import Flags, Ids, Topology
from headrace.scheduler.fitting import Demand, rates_of

Floats = npt.NDArray[np.float64]

_NO_IDS: Ids = np.empty(0, dtype=np.int32)
_NO_IDS.flags.writeable = False


@dataclass(frozen=True)
class Host:
    """A host of a cluster.

    name: as the scheduler knows it.
    runners: how many tasks it executes at once.
    memory: capacity for datasets and running tasks, in bytes.
    speed: relative to the host on which costs were measured; 2.0 executes every task in half of the time.
    bandwidth: of its link, in bytes per second: as much for what it sends and, beside that, as much for what it receives.
    resources: amounts by name, as tasks need them.
    """

    name: str
    runners: int = 1
    memory: float = math.inf
    speed: float = 1.0
    bandwidth: float = math.inf
    resources: Resources = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Problem:
    """A graph to be planned. Rows of tasks and datasets are as in the topology; hosts are named by their place in `hosts`.

    topology: the tasks and the datasets between them.
    hosts: at least one, each with at least one runner.
    seconds (n_tasks): duration of each task on a host of speed 1.
    nbytes (n_datasets): size of each dataset.
    memory (n_tasks): bytes that a task needs beside its inputs and outputs while it runs; 0 where that is not known.
    latency: seconds from the start of a transfer to the first byte.
    kind (n_tasks): what each task needs of its host, as an index into `needs`. Empty: no task needs anything.
    needs: amounts of resources by kind.
    done (n_tasks): tasks that are not to be planned, since they ran before. Empty: none.
    held_dataset, held_host: pairs of a dataset and a host that holds it at the start. Some host holds each dataset of a done task that
    another task takes.
    """

    topology: Topology
    hosts: tuple[Host, ...]
    seconds: Floats
    nbytes: Floats
    memory: Floats
    latency: float = 0.0
    kind: Ids = field(default_factory=_NO_IDS.copy)
    needs: tuple[Resources, ...] = ()
    done: Flags = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    held_dataset: Ids = field(default_factory=_NO_IDS.copy)
    held_host: Ids = field(default_factory=_NO_IDS.copy)

    def __post_init__(self) -> None:
        """Check shapes. Raises ValueError if a column has not one entry per task or dataset, or a kind of task fits no host."""
        n, m = self.topology.n_tasks, self.topology.n_datasets
        for name, column, length in (("seconds", self.seconds, n), ("nbytes", self.nbytes, m), ("memory", self.memory, n)):
            if len(column) != length:
                raise ValueError(f"the column {name} of a problem has {len(column)} entries: give {length}")
        if len(self.kind) not in (0, n) or len(self.done) not in (0, n):
            raise ValueError(f"the columns kind and done of a problem have {len(self.kind)} and {len(self.done)} entries: give none or {n}")
        if not self.hosts:
            raise ValueError("a problem has no hosts: give at least one")
        for number, need in enumerate(self.needs):
            if not any(fits(need, host.resources) for host in self.hosts):
                raise ValueError(f"no host of a problem has what tasks of kind {number} need, {dict(need)}: give a host that has it")

    @property
    def n_tasks(self) -> int:
        """The number of tasks, done ones included."""
        return self.topology.n_tasks

    @property
    def n_hosts(self) -> int:
        """The number of hosts."""
        return len(self.hosts)

    @cached_property
    def demand(self) -> Demand | None:
        """What tasks need, as the fast plan takes it; None if no task needs anything."""
        if not len(self.kind):
            return None
        runners = [float(host.runners) for host in self.hosts]
        return Demand(self.kind, rates_of(Needs(list(self.needs), []), runners, [host.resources for host in self.hosts]))

    @cached_property
    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """Per kind of task: the hosts that can run it. One row, of all hosts, if no task needs anything."""
        if not len(self.kind):
            return (tuple(range(self.n_hosts)),)
        return tuple(tuple(h for h, host in enumerate(self.hosts) if fits(need, host.resources)) for need in self.needs)

    def may_run(self, task: int, host: int) -> bool:
        """Return whether the host has what the task needs."""
        return not len(self.kind) or fits(self.needs[self.kind[task]], self.hosts[host].resources)

    def is_done(self, task: int) -> bool:
        """Return whether the task ran before, and is not to be planned."""
        return bool(len(self.done)) and bool(self.done[task])

    @cached_property
    def undone(self) -> Ids:
        """The tasks to be planned."""
        if not len(self.done):
            return np.arange(self.n_tasks, dtype=np.int32)
        return np.flatnonzero(~self.done).astype(np.int32)
