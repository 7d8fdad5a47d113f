"""Relief of held-up hosts, whose runners all execute long tasks, by hosts with idle runners.

The scheduler asks for waiting chains back (`Revoke`). The host gives back those that it has not begun (`revoked`), and they are placed like
other unplaced tasks. Chains that are not released yet are moved at once. The idle hosts get only a share, since a held-up host may be free
soon. When they are idle again, they get a share of the rest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Flags
from headrace.ledger import ASSIGNED, NOWHERE, JobLedger
from headrace.ledger.columns import Ints, ints, ranges
from headrace.scheduler.job import JobSchedule
from headrace.scheduler.living_hosts import LivingHosts

Asked = Mapping[str, Mapping[int, int]]
"""For each job, the tasks that were asked back, with their chains."""


class Back(NamedTuple):
    """Chains of a job that a host is asked to give back. tasks: the tasks of each chain."""

    job: JobLedger
    host: str
    chains: list[int]
    tasks: list[list[int]]

    def chain_of_tasks(self) -> dict[int, int]:
        """Return the chain of each task."""
        return {task: chain for chain, tasks in zip(self.chains, self.tasks, strict=True) for task in tasks}


class Waiting(NamedTuple):
    """The chains of a job that are ready and have not begun, in plan order. hosts: the index of each chain's host. lengths: in tasks."""

    chains: Ints
    hosts: Ints
    lengths: Ints

    @classmethod
    def of(cls, job: JobLedger, asked: Collection[int] = ()) -> Waiting:
        """Find the waiting chains of a job. asked: tasks that were asked back, whose chains are left out."""
        released = np.flatnonzero(job.state == ASSIGNED)
        if not len(released):
            return cls(ints([]), ints([]), ints([]))
        chains = np.unique(job.chain[released])
        lengths = job.chains.lengths(chains)
        tasks = job.chains.expand(chains)[0]
        starts = np.cumsum(lengths) - lengths
        kept = (job.chain[tasks] == np.repeat(chains, lengths)) & (job.state[tasks] == ASSIGNED)
        if asked:
            kept &= ~np.isin(tasks, list(asked))
        ready = np.logical_and.reduceat(kept, starts) & _have_inputs(job, tasks[starts])
        return cls(chains[ready], job.host[tasks[starts]][ready], lengths[ready])

    def first_on(self, host: int, tasks: int) -> list[int]:
        """Return the first chains on a host that have at least `tasks` tasks together, or all its chains."""
        here = self.hosts == host
        ends = np.cumsum(self.lengths[here])
        found: list[int] = self.chains[here][: int(np.searchsorted(ends, tasks)) + 1].tolist()
        return found


def _have_inputs(job: JobLedger, tasks: Ints) -> Flags:
    """Return for each task whether all its inputs exist."""
    topology, ready = job.topology, np.ones(len(tasks), dtype=np.bool_)
    if len(topology.inputs):
        counts = topology.n_inputs[tasks]
        exist = job.copies.home[topology.inputs[ranges(topology.input_start[tasks], counts)]] != NOWHERE
        some = counts > 0
        if some.any():
            ready[some] = np.logical_and.reduceat(exist, (np.cumsum(counts) - counts)[some])
    return ready


def share(waiting: int, spare: int, runners: int) -> int:
    """Return how many of `waiting` tasks go to hosts with `spare` idle runners, away from hosts with `runners` busy ones.

    >>> share(30, 1, 3), share(1, 1, 8), share(0, 1, 1)
    (8, 1, 0)
    """
    return math.ceil(waiting * spare / (spare + runners))


class Relief:
    """The tasks that wait on hosts at one moment.

    schedules: the planned jobs. alone: jobs of one task that has not begun, each with its host. executing: per host, the number of tasks
    that are known to run.

    asked: the tasks that hosts were asked to give back. pending: the number of these tasks that hosts have neither given back nor begun.
    """

    def __init__(
        self,
        living: LivingHosts,
        schedules: Mapping[str, JobSchedule],
        alone: Sequence[tuple[JobLedger, str]],
        executing: Mapping[str, int],
        asked: Asked,
        pending: int,
    ) -> None:
        self._living = living
        self._alone = [(job, host) for job, host in alone if job.job not in asked]
        self._held_up = [name for name in living.names if living.is_held_up(name)]
        self._waiting: list[tuple[JobSchedule, Waiting]] = []
        self._tasks = Counter(host for _, host in self._alone)
        if any(self._has_work(host, schedules) for host in self._held_up):
            self._waiting = [(schedule, Waiting.of(schedule.job, asked.get(name, {}))) for name, schedule in schedules.items()]
            self._count()
        self._spare = {
            name: left
            for name in living.names
            if name not in self._held_up and (left := living.runners_of[name] - executing.get(name, 0) - self._tasks[name]) > 0
        }
        """For each host with idle runners, their number."""
        self._left = max(0, sum(self._spare.values()) - pending)
        """The number of idle runners for which no task was asked back yet."""

    def _has_work(self, host: str, schedules: Mapping[str, JobSchedule]) -> bool:
        """Return whether a host may have tasks that it has not begun."""
        if any(name == host for _, name in self._alone):
            return True
        ids = ((schedule, schedule.job.host_ids.get(host, NOWHERE)) for schedule in schedules.values())
        return any(schedule.open[index] or schedule.again[index] or index in schedule.backlogs for schedule, index in ids)

    def _count(self) -> None:
        """Count the tasks that wait on each host."""
        for schedule, found in self._waiting:
            for index, lengths in zip(found.hosts.tolist(), found.lengths.tolist(), strict=True):
                self._tasks[schedule.job.hosts[index]] += lengths

    def _share(self, tasks: int) -> int:
        """Return how many of the tasks that wait on a held-up host go to other hosts."""
        return share(tasks, self._left, sum(self._living.runners_of[name] for name in self._held_up))

    def moves(self) -> Iterator[tuple[JobSchedule, int, int]]:
        """Yield unreleased work to move away from held-up hosts: the schedule, the index of the host, and about how many tasks."""
        for schedule, _ in self._waiting if self._left else ():
            for host in self._held_up:
                index = schedule.job.host_ids.get(host, NOWHERE)
                if index in schedule.backlogs:
                    yield schedule, index, self._share(schedule.backlogs[index].n_tasks)

    def asks(self) -> Iterator[Back]:
        """Yield the chains that held-up hosts are asked to give back."""
        for host in self._held_up:
            if self._left and self._tasks[host]:
                yield from self._of(host, self._share(self._tasks[host]))

    def _of(self, host: str, left: int) -> Iterator[Back]:
        """Yield chains of a host with about `left` tasks together that other hosts can run."""
        for job, name in self._alone:
            if left > 0 and name == host and self._living.can_take(job, 0, self._spare):
                left -= 1
                yield Back(job, host, [0], [[0]])
        for schedule, found in self._waiting:
            job = schedule.job
            chains = found.first_on(job.host_ids.get(host, NOWHERE), left) if left > 0 else []
            rows = [(chain, job.chains.tasks_of(chain)) for chain in chains]
            rows = [(chain, tasks) for chain, tasks in rows if schedule.needs is None or self._living.can_take(job, tasks[0], self._spare)]
            if rows:
                left -= sum(len(tasks) for _, tasks in rows)
                yield Back(job, host, [chain for chain, _ in rows], [tasks for _, tasks in rows])
