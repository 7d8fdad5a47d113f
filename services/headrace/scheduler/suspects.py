"""Suspects: tasks under which several hosts died, or that ran out of memory. Each is placed to run alone.

The host runs nothing else beside a suspect. The scheduler sends it no other work meanwhile: a host with a suspect counts as held up. A task
that ran out of memory although it ran alone goes to a host with more memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.graph.resources import fits
from headrace.ledger import ASSIGNED, STARTED, HostRecord, JobLedger, too_small_for
from headrace.scheduler.living_hosts import LivingHosts


class Suspects:
    """The tasks that were placed to run alone. hosts: the number of them on each host, as of the last `drop_ended`."""

    def __init__(self) -> None:
        self.hosts: dict[str, int] = {}
        self._placed: dict[tuple[str, int], str] = {}

    def placed(self, job: str, task: int, host: str) -> None:
        """Note that a task was assigned to a host, to run alone."""
        self._placed[job, task] = host
        self.hosts[host] = self.hosts.get(host, 0) + 1

    def drop_ended(self, jobs: Mapping[str, JobLedger]) -> None:
        """Drop the tasks that are no longer assigned to their host, and count the others by host."""
        if not self._placed:
            return
        self._placed = {(job, task): host for (job, task), host in self._placed.items() if _is_there(jobs.get(job), task, host)}
        self.hosts.clear()
        for host in self._placed.values():
            self.hosts[host] = self.hosts.get(host, 0) + 1


def _is_there(job: JobLedger | None, task: int, host: str) -> bool:
    if job is None or job.end is not None:
        return False
    return job.states[task] in (ASSIGNED, STARTED) and job.hosts[job.placed[task]] == host


def place(job: JobLedger, task: int, living: LivingHosts, hosts: Mapping[str, HostRecord], suspects: Mapping[str, int]) -> str:
    """Choose a host for a task that runs alone. Returns "" if no living host has the resources that it needs.

    A task that ran out of memory alone goes to a host with more memory, if there is one. Of several hosts, the one with the fewest suspects
    is taken, and then the one with the least to do.
    """
    need = job.spec.functions[job.spec.function[task]].resources
    able = [name for name in living.names if fits(need, living.resources[name])]
    too_small = too_small_for(job, task)
    larger = [name for name in able if hosts[name].memory > too_small] if too_small and job.n_failures(task) > 1 else []
    return min(larger or able, key=lambda name: (suspects.get(name, 0), living.busy_seconds(name)), default="")
