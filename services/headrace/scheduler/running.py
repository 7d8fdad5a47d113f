"""Tasks that have run for long, and the hosts that they keep busy.

Hosts report the tasks that they execute ten times a second, so most short tasks are never reported. A task that has run for
`Settings.long_seconds` may run for much longer: the duration of a task is not known before its end.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from headrace.ledger import STARTED, Ledger
from headrace_schemas import Events


class _Task(NamedTuple):
    job: str
    task: int


class Running:
    """The tasks that are known to run.

    since: for each task, its host and the time of the report that it runs. executing, long: the number of such tasks on each host, and how
    many of them have run for long, as of the last `drop_ended`. long_seconds: see `Settings`.
    """

    def __init__(self, long_seconds: float) -> None:
        self._long_seconds = long_seconds
        self.executing: Counter[str] = Counter()
        self.long: Counter[str] = Counter()
        self.since: dict[_Task, tuple[str, float]] = {}

    def started(self, events: Events, now: float) -> None:
        """Note the tasks that a host reports as started. now: by the clock of `tick`."""
        for task in events.started:
            self.since[_Task(events.job, task)] = events.host, now

    def drop_ended(self, ledger: Ledger, now: float) -> None:
        """Drop the tasks that have ended, and count the others by host. now: by the clock of `tick`."""
        self.since = {each: value for each, value in self.since.items() if _runs(ledger, each, value[0])}
        self.executing.clear()
        self.long.clear()
        for host, since in self.since.values():
            self.executing[host] += 1
            self.long[host] += now - since >= self._long_seconds


def _runs(ledger: Ledger, each: _Task, host: str) -> bool:
    job = ledger.jobs.get(each.job)
    if job is None or job.over or not 0 <= each.task < len(job.states) or job.states[each.task] != STARTED:
        return False
    return host in ledger.hosts and ledger.hosts[host].alive and job.hosts[job.placed[each.task]] == host
