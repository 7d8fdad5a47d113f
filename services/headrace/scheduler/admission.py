"""Which submitted jobs are planned now, and which wait for their turn: a pure queue.

All jobs that are open share the runners, and advance together. With hundreds open, each gets a task done now and then, and every service
hears of each of these by itself: the messages cost more than the tasks. So only so many jobs are open at a time, and the others wait in the
order in which they arrived. Three rules keep a job from waiting for what it does not need:

- Jobs count while they are young. Whatever has been open for `grown_seconds` is long, and its messages are few.
- While some host has fewer tasks than runners, the next job is admitted, whatever the limits say.
- A job whose tasks need resources is admitted at once: those before it may wait for a resource that it does not need.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from headrace.ledger import JobLedger
from headrace.scheduler.settings import Settings


class Admission:
    """Jobs that wait for their turn, and those that count because they had it a short time ago.

    The clock may be any that goes on; it stands still unless `tick` is called.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: dict[str, JobLedger] = {}
        self._needy: dict[str, JobLedger] = {}
        """Those whose tasks need resources; they have their turn before the others."""
        self._young: dict[str, tuple[float, int]] = {}
        """When each was admitted, and how many tasks it has; the longest ago first."""
        self._young_tasks = 0
        self._grown_at = math.inf
        """When the first of them, or one that was before it, has been open for long enough not to count."""
        self._now = 0.0

    @property
    def has_any(self) -> bool:
        """Whether a job waits."""
        return bool(self._needy or self._waiting)

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._needy) + len(self._waiting)

    @property
    def names(self) -> list[str]:
        """The jobs that wait, the first to be admitted first."""
        return [*self._needy, *self._waiting]

    def tick(self, now: float) -> None:
        """Take in how late it is. Jobs that were admitted long enough ago do not count any more."""
        self._now = now
        if now >= self._grown_at:
            self._let_grow()

    def _let_grow(self) -> None:
        while self._young:
            name = next(iter(self._young))
            self._grown_at = self._young[name][0] + self._settings.grown_seconds
            if self._now < self._grown_at:
                return
            self._forget(name)
        self._grown_at = math.inf

    def arrive(self, job: JobLedger) -> None:
        """A job waits from now on."""
        (self._waiting if job.needs is None else self._needy)[job.job] = job

    def leave(self, job: str) -> None:
        """A job is over, or is not to be planned: it neither waits nor counts."""
        for waiting in (self._waiting, self._needy):
            if job in waiting:
                del waiting[job]
        if job in self._young:
            self._forget(job)

    def next(self, runners: float, *, idle: Callable[[], bool]) -> JobLedger | None:
        """The job whose turn it is, or None. It does not wait any more.

        runners: of all living hosts. idle: returns whether some of them has less to do than it has runners.
        """
        if self._needy:
            return self._needy.pop(next(iter(self._needy)))
        if not self._waiting:
            return None
        job = next(iter(self._waiting.values()))
        if not (self._has_room(job, runners) or idle()):
            return None
        del self._waiting[job.job]
        if not self._young:
            self._grown_at = self._now + self._settings.grown_seconds
        self._young[job.job] = self._now, job.n_tasks
        self._young_tasks += job.n_tasks
        return job

    def _has_room(self, job: JobLedger, runners: float) -> bool:
        settings = self._settings
        if len(self._young) < max(settings.open_jobs, 2 * runners):
            return True
        return self._young_tasks + job.n_tasks <= settings.open_tasks_per_runner * runners

    def _forget(self, job: str) -> None:
        self._young_tasks -= self._young.pop(job)[1]
