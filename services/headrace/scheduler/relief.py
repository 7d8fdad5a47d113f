"""Relief: what waits on a host whose runners are all taken by long tasks is asked back, while other hosts have runners to spare.

The host gives back what it has not begun (`Revoke`, `revoked`), and that is placed on other hosts like anything that has no place. What
was not released yet is moved at once. These hosts get their share only, for a host that is held up may be free soon; once they have nothing
to do again, they get their share of the rest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from headrace.graph.resources import fits
from headrace.graph.topology import Flags
from headrace.ledger import ASSIGNED, NOWHERE, JobLedger
from headrace.ledger.columns import Ints, ints, ranges
from headrace.scheduler.job import JobSchedule
from headrace.scheduler.living_hosts import LivingHosts

Asked = Mapping[str, Mapping[int, int]]
"""Per job the tasks that were asked back, with the chain of each."""


class Back(NamedTuple):
    """Chains of a job that a host is to give back. tasks: per chain."""

    job: JobLedger
    host: str
    chains: list[int]
    tasks: list[list[int]]


class Waiting(NamedTuple):
    """The chains of a job that could begin and have not, in plan order. hosts: index of the host of each. lengths: tasks of each."""

    chains: Ints
    hosts: Ints
    lengths: Ints

    @classmethod
    def of(cls, job: JobLedger, asked: Collection[int] = ()) -> Waiting:
        """Those of a job, without those whose tasks were asked back."""
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
        """The first chains on a host that have so many tasks together, or all."""
        here = self.hosts == host
        ends = np.cumsum(self.lengths[here])
        found: list[int] = self.chains[here][: int(np.searchsorted(ends, tasks)) + 1].tolist()
        return found


def _have_inputs(job: JobLedger, tasks: Ints) -> Flags:
    """Per task: whether all that it takes exists."""
    topology, ready = job.topology, np.ones(len(tasks), dtype=np.bool_)
    if len(topology.inputs):
        counts = topology.n_inputs[tasks]
        exist = job.copies.home[topology.inputs[ranges(topology.input_start[tasks], counts)]] != NOWHERE
        some = counts > 0
        if some.any():
            ready[some] = np.logical_and.reduceat(exist, (np.cumsum(counts) - counts)[some])
    return ready


def share(waiting: int, spare: int, runners: int) -> int:
    """How many of the tasks that wait for so many runners go to hosts that have so many to spare.

    >>> share(30, 1, 3), share(1, 1, 8), share(0, 1, 1)
    (8, 1, 0)
    """
    return math.ceil(waiting * spare / (spare + runners))


class Relief:
    """What waits on the hosts at one moment.

    schedules: the planned jobs. alone: jobs of one task that was not begun, with the host that has it. executing: per host, tasks that are
    known to run. asked: what hosts were asked to give back; pending: how many of these tasks they have not given back, or begun.
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
        """Runners that nothing waits for, per host that has some."""
        self._left = max(0, sum(self._spare.values()) - pending)
        """Those of them that nothing was asked for."""

    def _has_work(self, host: str, schedules: Mapping[str, JobSchedule]) -> bool:
        """Whether a host has anything that it has not begun, as far as is known."""
        if any(name == host for _, name in self._alone):
            return True
        ids = ((schedule, schedule.job.host_ids.get(host, NOWHERE)) for schedule in schedules.values())
        return any(schedule.open[index] or schedule.again[index] or index in schedule.backlogs for schedule, index in ids)

    def _count(self) -> None:
        """Adds up the tasks that wait on each host, to begin."""
        for schedule, found in self._waiting:
            for index, lengths in zip(found.hosts.tolist(), found.lengths.tolist(), strict=True):
                self._tasks[schedule.job.hosts[index]] += lengths

    def _share(self, tasks: int) -> int:
        """How many of the tasks that wait on a host that is held up go elsewhere."""
        return share(tasks, self._left, sum(self._living.runners_of[name] for name in self._held_up))

    def moves(self) -> Iterator[tuple[JobSchedule, int, int]]:
        """What was not released to hosts that are held up, and goes elsewhere: about so many tasks of a job's host."""
        for schedule, _ in self._waiting if self._left else ():
            for host in self._held_up:
                index = schedule.job.host_ids.get(host, NOWHERE)
                if index in schedule.backlogs:
                    yield schedule, index, self._share(schedule.backlogs[index].n_tasks)

    def asks(self) -> Iterator[Back]:
        """What hosts that are held up are to give back."""
        for host in self._held_up:
            if self._left and self._tasks[host]:
                yield from self._of(host, self._share(self._tasks[host]))

    def _of(self, host: str, left: int) -> Iterator[Back]:
        """About so many tasks of a host, of those that other hosts can take."""
        for job, name in self._alone:
            if left > 0 and name == host and self._can_take(job, 0):
                left -= 1
                yield Back(job, host, [0], [[0]])
        for schedule, found in self._waiting:
            job = schedule.job
            chains = found.first_on(job.host_ids.get(host, NOWHERE), left) if left > 0 else []
            rows = [(chain, job.chains.tasks_of(chain)) for chain in chains]
            rows = [(chain, tasks) for chain, tasks in rows if schedule.needs is None or self._can_take(job, tasks[0])]
            if rows:
                left -= sum(len(tasks) for _, tasks in rows)
                yield Back(job, host, [chain for chain, _ in rows], [tasks for _, tasks in rows])

    def _can_take(self, job: JobLedger, task: int) -> bool:
        """Whether a host with runners to spare has what a task needs."""
        need = job.spec.functions[job.spec.function[task]].resources
        return any(fits(need, self._living.resources[name]) for name in self._spare)
