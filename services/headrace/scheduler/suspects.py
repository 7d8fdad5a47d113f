"""Tasks under which hosts were lost again and again, or ran out of memory: each is placed to run alone.

The host sees to it that nothing else runs beside such a task. The scheduler keeps others' work away meanwhile: a host that has one counts
as held up. A task that was out of memory although it ran alone goes to a host with more memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.graph.resources import fits
from headrace.ledger import ASSIGNED, STARTED, HostRecord, JobLedger, too_small_for
from headrace.scheduler.living_hosts import LivingHosts


class Suspects:
    """The tasks that were placed to run alone. hosts: how many of them each host has, as of the last `look`."""

    def __init__(self) -> None:
        self.hosts: dict[str, int] = {}
        self._placed: dict[tuple[str, int], str] = {}

    def placed(self, job: str, task: int, host: str) -> None:
        """A task was assigned to a host, to run alone."""
        self._placed[job, task] = host
        self.hosts[host] = self.hosts.get(host, 0) + 1

    def look(self, jobs: Mapping[str, JobLedger]) -> None:
        """Forget those that are not at their host any more."""
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
    """The host for a task that runs alone: one that has what it needs, and more memory than was too little if any has; then one without
    others of its kind, and with the least to do. Empty if none has what it needs."""
    need = job.spec.functions[job.spec.function[task]].resources
    able = [name for name in living.names if fits(need, living.resources[name])]
    too_small = too_small_for(job, task)
    larger = [name for name in able if hosts[name].memory > too_small] if too_small and job.n_failures(task) > 1 else []
    return min(larger or able, key=lambda name: (suspects.get(name, 0), living.busy_seconds(name)), default="")
