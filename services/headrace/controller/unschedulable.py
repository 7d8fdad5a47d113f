"""Tasks that need what no living host has: when their job fails for that, and what it says then.

A job fails at once when it is submitted, if hosts live and none can take some task of it. Later, hosts come and go: one that restarts
is back within seconds. So a job that became unschedulable has a while, by a timer whose end is written into the log (`Stranded`) before
the controller acts on it. Both are judged at the entry itself, whatever came after it: so replay comes to the same. Where no host lives
at all, a job waits for much longer: workers may be started after jobs are submitted, and a whole cluster may be started again. Then the
job fails for that.
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
"""Hosts, and sets of resources, that an error names."""


NO_HOSTS = (
    "no host has been at work for {:g} s: start a worker (headrace worker), see in its log why it does not join, and submit the job again. "
    "Jobs wait for HEADRACE_NO_HOSTS_GRACE of the controller"
)


class Unschedulable:
    """Follows all jobs. failures: of those that must end, by job."""

    def __init__(self) -> None:
        self.failures: dict[str, Failure] = {}
        self._since: dict[str, float] = {}
        self._alone_since: dict[str, float] = {}

    def note_message(self, message: Submitted | Stranded, ledger: Ledger) -> None:
        """An entry was folded that may end its job for want of hosts."""
        if isinstance(message, Stranded) and message.alone:
            if is_alone(ledger.jobs.get(message.job), ledger.hosts):
                self.failures.setdefault(message.job, Failure(None, NO_HOSTS.format(message.seconds)))
        else:
            failure = no_host(ledger.jobs.get(message.job), ledger.hosts)
            if failure is not None:
                self.failures.setdefault(message.job, failure)

    def due(self, ledger: Ledger, now: float, after: float) -> list[str]:
        """The jobs that have had unschedulable tasks for `after` seconds. now: of any clock that goes on."""
        unschedulable = [name for name, job in ledger.jobs.items() if job.needs is not None and no_host(job, ledger.hosts) is not None]
        self._since, due = _waited(self._since, unschedulable, now, after)
        return due

    def alone(self, ledger: Ledger, now: float, after: float) -> list[str]:
        """The jobs that have had no living host for `after` seconds. now: of any clock that goes on."""
        alone = [] if ledger.hosts.alive() else [name for name, job in ledger.jobs.items() if is_alone(job, ledger.hosts)]
        self._alone_since, due = _waited(self._alone_since, alone, now, after)
        return due

    def forget_job(self, job: str) -> None:
        """A job is over."""
        self.failures.pop(job, None)


def _waited(since: dict[str, float], jobs: list[str], now: float, after: float) -> tuple[dict[str, float], list[str]]:
    """Since when each of some jobs waits, and those that have waited for long enough: these begin to wait anew."""
    since = {name: since.get(name, now) for name in jobs}
    due = [name for name, begun in since.items() if now - begun >= after]
    return {**since, **dict.fromkeys(due, now)}, due


def is_alone(job: JobLedger | None, hosts: Hosts) -> bool:
    """Whether a job has tasks that are not done, and no host lives."""
    return job is not None and job.end is None and job.n_done < job.n_tasks and not hosts.alive()


def no_host(job: JobLedger | None, hosts: Hosts) -> Failure | None:
    """Why the job cannot go on on the hosts that live: the first of its unfinished tasks that none of them can take."""
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
    """In words, what hosts have: those with the same together."""
    pairs = sorted((in_words(hosts[name].resources) or "nothing", name) for name in living)
    groups = [f"{_shown([name for _, name in group])}: {has}" for has, group in groupby(pairs, key=lambda pair: pair[0])]
    return "; ".join(groups[:SHOWN]) + (f"; and {len(groups) - SHOWN} other kinds of hosts" if len(groups) > SHOWN else "")


def _shown(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
