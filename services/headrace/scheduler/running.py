"""Tasks that run for long, and the hosts that they keep busy.

Hosts report which tasks they execute, ten times a second, so most short tasks are never told of. Whoever runs for longer than
`Settings.long_seconds` may run for much longer: nobody knows what tasks take before they have ended.
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

    since: of each its host, and when that was first heard. executing, long: per host, how many do, and how many of them for long; as of
    the last `look`. long_seconds: see `Settings`.
    """

    def __init__(self, long_seconds: float) -> None:
        self._long_seconds = long_seconds
        self.executing: Counter[str] = Counter()
        self.long: Counter[str] = Counter()
        self.since: dict[_Task, tuple[str, float]] = {}

    def started(self, events: Events, now: float) -> None:
        """A host says which tasks it executes that it did not before."""
        for task in events.started:
            self.since[_Task(events.job, task)] = events.host, now

    def look(self, ledger: Ledger, now: float) -> None:
        """Forget what does not run any more, and count the rest."""
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
