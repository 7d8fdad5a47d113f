"""Levelling: idle hosts get part of the work that waits on the hosts that would finish last.

A host gives back chains that it has not begun (`Revoke`, `revoked`), and the scheduler places them on the idle hosts. Chains that were not
released yet move at once. Enough work moves that all of these hosts would finish together, by the measured durations of functions and the
measured speeds of hosts. A host keeps its work if it would finish less than a few round trips after the others. It keeps a chain if the
chain's inputs would take longer to send than the chain waits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from headrace.ledger import JobLedger
from headrace.ledger.columns import Ints
from headrace.scheduler.inputs import outside
from headrace.scheduler.job import JobSchedule
from headrace.scheduler.living_hosts import LivingHosts
from headrace.scheduler.placing import Floats
from headrace.scheduler.relief import Asked, Back, Waiting


class Row(NamedTuple):
    """The waiting work of one job on one host.

    chains: those that could begin now, in plan order. seconds: the duration of each, on a host of speed 1. backlog: the duration of all
    chains that were not released yet, in seconds.
    """

    schedule: JobSchedule
    host: int
    chains: Ints
    seconds: Floats
    backlog: float


def excess(waiting: Mapping[str, float], rates: Mapping[str, float], spare: float) -> dict[str, float]:
    """Return the seconds of work to take from each host, so that it and the idle hosts finish together.

    waiting: seconds of work (at speed 1) that wait on each host. rates: seconds of work that each of these hosts does in a second. spare:
    the sum of these rates of all idle hosts.

    >>> excess({"slow": 15.0, "short": 0.1}, {"slow": 0.25, "short": 1.0}, 1.0)
    {'slow': 12.0}
    """
    latest = sorted(waiting, key=lambda host: waiting[host] / rates[host], reverse=True)
    work, rate = 0.0, spare
    taken: list[str] = []
    for host in latest:
        if taken and waiting[host] / rates[host] <= work / rate:
            break
        work, rate = work + waiting[host], rate + rates[host]
        taken.append(host)
    level = work / rate if rate else 0.0
    return {host: more for host in taken if (more := waiting[host] - level * rates[host]) > 0}


class Levelling:
    """The work that waits on hosts at one moment while other hosts are idle.

    idle: the hosts that have nothing to do. asked: per job, the tasks that hosts were asked to give back already. seconds:
    returns the expected seconds per function of a job, NaN where they are unknown. Tasks of unknown duration stay where they are.
    least_seconds: a host loses work only if it would finish at least this much later than all of these hosts would together.
    gigabyte_seconds: the time to send a gigabyte of inputs.
    """

    def __init__(
        self,
        living: LivingHosts,
        schedules: Mapping[str, JobSchedule],
        idle: Collection[str],
        asked: Asked,
        seconds: Callable[[JobLedger], Floats],
        least_seconds: float,
        gigabyte_seconds: float,
    ) -> None:
        self._living = living
        self._idle = sorted(idle)
        self._least_seconds = least_seconds
        self._byte_seconds = gigabyte_seconds / 1e9
        self._fastest = max(living.rate(name, 1) for name in self._idle)
        self._rows: dict[str, list[Row]] = defaultdict(list)
        for name, schedule in schedules.items():
            if schedule.job.cancel_asked is None and not schedule.unplaced:
                for row in _rows(schedule, asked.get(name, {}), seconds(schedule.job)):
                    self._rows[schedule.job.hosts[row.host]].append(row)
        self._excess = self._late()

    def _late(self) -> dict[str, float]:
        """Return the seconds of work to take from each host that would finish late."""
        waiting = {host: sum(float(row.seconds.sum()) + row.backlog for row in rows) for host, rows in self._rows.items()}
        behind = {host: work for host, work in waiting.items() if host in self._living.epochs and host not in self._idle and work > 0}
        rates = {host: self._living.rate(host) for host in behind}
        found = excess(behind, rates, sum(map(self._living.rate, self._idle)))
        return {host: more for host, more in found.items() if more >= self._least_seconds * rates[host]}

    def moves(self) -> Iterator[tuple[JobSchedule, int, int]]:
        """Yield unreleased work to move to the idle hosts: a job, the index of the host that loses it, and a number of tasks."""
        for host in sorted(self._excess):
            for row in self._rows[host]:
                backlog = row.schedule.backlogs.get(row.host)
                if backlog is not None and row.backlog > 0 and self._excess[host] > 0:
                    share = min(1.0, self._excess[host] / row.backlog)
                    self._excess[host] -= share * row.backlog
                    yield row.schedule, row.host, int(backlog.n_tasks * share)

    def asks(self) -> Iterator[Back]:
        """Yield the chains that late hosts are asked to give back, after `moves`."""
        for host in sorted(self._excess):
            left = self._excess[host]
            for row in self._rows[host]:
                chains = self._last(row, left) if left > 0 else []
                if chains:
                    left -= float(row.seconds[np.isin(row.chains, chains)].sum())
                    job = row.schedule.job
                    yield Back(job, host, chains, [job.chains.tasks_of(chain) for chain in chains])

    def _last(self, row: Row, seconds: float) -> list[int]:
        """Return the last chains of a row that take about this time together, in plan order.

        Only chains count that an idle host would finish before the late host finishes all of its work.
        """
        job, found = row.schedule.job, []
        wait = float(row.seconds.sum()) / self._living.rate(job.hosts[row.host])
        for chain, cost in zip(reversed(row.chains.tolist()), reversed(row.seconds.tolist()), strict=True):
            if seconds < cost / 2:
                break
            tasks = job.chains.tasks_of(chain)
            sending = _input_bytes(job, tasks) * self._byte_seconds
            if sending <= wait / 2 and sending + cost / self._fastest < wait and self._living.can_take(job, tasks[0], self._idle):
                found.append(chain)
                seconds -= cost
        return found[::-1]


def _rows(schedule: JobSchedule, asked: Mapping[int, int], function_seconds: Floats) -> Iterator[Row]:
    """Yield the waiting work of a job on each of its hosts. Chains of functions that never ran do not count."""
    job = schedule.job
    task_seconds = np.nan_to_num(function_seconds, nan=0.0)[job.topology.function]
    if not task_seconds.any():
        return
    found = Waiting.of(job, asked)
    tasks = job.chains.expand(found.chains)[0] if len(found.chains) else found.chains
    seconds = np.add.reduceat(task_seconds[tasks], np.cumsum(found.lengths) - found.lengths) if len(tasks) else np.zeros(0)
    mean = float(task_seconds.mean())
    for host in sorted({*found.hosts.tolist(), *schedule.backlogs}):
        here = (found.hosts == host) & (seconds > 0)
        backlog = schedule.backlogs.get(host)
        yield Row(schedule, host, found.chains[here], seconds[here], mean * backlog.n_tasks if backlog is not None else 0.0)


def _input_bytes(job: JobLedger, tasks: list[int]) -> int:
    """Return the bytes of the inputs that a chain takes from outside."""
    taken = outside(job.topology, np.array([len(tasks)]), np.array(tasks)).datasets
    return int(job.size[taken].sum()) if len(taken) else 0
