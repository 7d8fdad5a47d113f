"""The queue of submitted jobs that wait to be planned.

All open jobs share the runners and advance together. With hundreds of open jobs, each gets a task done now and then, and each such task is
reported in a message by itself: the messages cost more than the tasks. So the number of open jobs is limited, and the others wait in the
order of submission. Three rules keep a job from waiting without need:

- Only young jobs count. A job that has been open for `grown_seconds` is a long one, and its messages are few.
- While a host has fewer tasks than runners, the next job is admitted, whatever the limits say.
- A job whose tasks need resources is admitted at once: the jobs before it may wait for a resource that it does not need.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from headrace.ledger import JobLedger
from headrace.scheduler.settings import Settings


class Admission:
    """The jobs that wait to be admitted, and the young jobs, which were admitted a short time ago.

    The clock may be any monotonic clock. It advances with `tick`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: dict[str, JobLedger] = {}
        self._needy: dict[str, JobLedger] = {}
        """Waiting jobs whose tasks need resources. They are admitted before the others."""
        self._young: dict[str, tuple[float, int]] = {}
        """The time of admission and the number of tasks of each young job, the oldest first."""
        self._young_tasks = 0
        self._grown_at = math.inf
        """The time from which on the oldest job may no longer be young."""
        self._now = 0.0

    @property
    def has_any(self) -> bool:
        """Whether a job waits."""
        return bool(self._needy or self._waiting)

    def __len__(self) -> int:
        """Return the number of waiting jobs."""
        return len(self._needy) + len(self._waiting)

    @property
    def names(self) -> list[str]:
        """The waiting jobs, in the order in which they will be admitted."""
        return [*self._needy, *self._waiting]

    def tick(self, now: float) -> None:
        """Advance the clock, and stop counting jobs that are no longer young. now: seconds."""
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
        """Remove and return the next job to admit, or None if no job may be admitted.

        runners: the number of runners of all living hosts. idle: returns whether a host has fewer tasks than runners.
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
