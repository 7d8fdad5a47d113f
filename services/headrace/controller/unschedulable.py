"""Jobs with tasks that need resources which no living host has: when such a job fails, and with which error.

A job fails as soon as it is submitted if hosts are alive and none of them can run one of its tasks. A job that becomes unschedulable later
gets a grace period, because a host that restarts is back within seconds. When the period ends, the controller writes `Stranded` into the
log before it acts. Both cases are judged at the entry (`Submitted` or `Stranded`) itself, whatever follows it, so that a replay decides the
same. While no host is alive at all, a job waits for much longer: workers may be started after jobs are submitted, and a whole cluster may
restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import numpy as np

from headrace.controller.recovery import Failure, describe
from headrace.graph.naming import input_names
from headrace.graph.resources import in_words
from headrace.ledger import DONE, Hosts, JobLedger, Ledger
from headrace_schemas import Stranded, Submitted, TaskError

SHOWN = 4
"""The number of hosts, and of sets of resources, that an error names."""


NO_HOSTS = (
    "no host has been at work for {:g} s. Start a worker (headrace worker); if one runs, its log says why it does not join. Then submit "
    "the job again. HEADRACE_NO_HOSTS_GRACE of the controller sets for how long jobs wait"
)


class Unschedulable:
    """The jobs without hosts that can run them. failures: for each job that must end for that, its error."""

    def __init__(self) -> None:
        self.failures: dict[str, Failure] = {}
        self._since: dict[str, float] = {}
        self._alone_since: dict[str, float] = {}

    def note_message(self, message: Submitted | Stranded, ledger: Ledger) -> None:
        """Judge a job at an entry that may end it for lack of hosts. The ledger has folded the entry."""
        if isinstance(message, Stranded) and message.alone:
            if is_alone(ledger.jobs.get(message.job), ledger.hosts):
                self.failures.setdefault(message.job, Failure(None, NO_HOSTS.format(message.seconds)))
        else:
            failure = no_host(ledger.jobs.get(message.job), ledger.hosts)
            if failure is not None:
                self.failures.setdefault(message.job, failure)

    def due(self, ledger: Ledger, now: float, after: float) -> list[str]:
        """List the jobs that have had unschedulable tasks for `after` seconds. now: seconds of any monotonic clock."""
        unschedulable = [name for name, job in ledger.jobs.items() if job.needs is not None and no_host(job, ledger.hosts) is not None]
        self._since, due = _waited(self._since, unschedulable, now, after)
        return due

    def alone(self, ledger: Ledger, now: float, after: float) -> list[str]:
        """List the jobs that have had no living host for `after` seconds. now: seconds of any monotonic clock."""
        alone = [] if ledger.hosts.alive() else [name for name, job in ledger.jobs.items() if is_alone(job, ledger.hosts)]
        self._alone_since, due = _waited(self._alone_since, alone, now, after)
        return due

    def forget_job(self, job: str) -> None:
        """Drop a job that is over."""
        self.failures.pop(job, None)


def _waited(since: dict[str, float], jobs: list[str], now: float, after: float) -> tuple[dict[str, float], list[str]]:
    """Update the times since which jobs wait, and list the jobs that have waited for `after` seconds. Those begin to wait anew."""
    since = {name: since.get(name, now) for name in jobs}
    due = [name for name, begun in since.items() if now - begun >= after]
    return {**since, **dict.fromkeys(due, now)}, due


def is_alone(job: JobLedger | None, hosts: Hosts) -> bool:
    """Whether a job has unfinished tasks, and no host is alive."""
    return job is not None and job.end is None and job.n_done < job.n_tasks and not hosts.alive()


def no_host(job: JobLedger | None, hosts: Hosts) -> Failure | None:
    """Return the error of the first unfinished task that no living host can run; None if there is no such task, or no living host."""
    if job is None or job.end is not None or job.problem or (needs := job.needs) is None:
        return None
    living = hosts.alive()
    kinds = needs.missing(hosts[name].resources for name in living)
    if not living or not kinds:
        return None
    tasks = np.flatnonzero(np.isin(needs.of_tasks(job.topology), kinds) & (job.state != DONE))
    return _failure(job, int(tasks[0]), hosts, living) if len(tasks) else None


def _failure(job: JobLedger, task: int, hosts: Hosts, living: list[str]) -> Failure:
    need = in_words(job.spec.functions[job.spec.function[task]].resources)
    error = TaskError(
        task=task,
        attempt=job.attempts[task],
        reason="no_host",
        name=job.task_name(task),
        inputs=input_names(job.spec, task, job.topology),
        error=f"it needs {need}, which no host has: {_have(hosts, living)}. Start a worker that has it (headrace worker "
        f"--resources {need}, or HEADRACE_RESOURCES; for a local cluster, Cluster.local(resources=...)), or have the task need less",
    )
    return Failure(error, describe(error, 1))


def _have(hosts: Hosts, living: list[str]) -> str:
    """Describe the resources of hosts. Hosts with the same resources are named together."""
    pairs = sorted((in_words(hosts[name].resources) or "nothing", name) for name in living)
    groups = [f"{_shown([name for _, name in group])}: {has}" for has, group in groupby(pairs, key=lambda pair: pair[0])]
    return "; ".join(groups[:SHOWN]) + (f"; and {len(groups) - SHOWN} other kinds of hosts" if len(groups) > SHOWN else "")


def _shown(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
