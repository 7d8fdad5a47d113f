"""When a task is tried again after its attempt failed: after a pause, which doubles from attempt to attempt.

The pause is a timer: that it is over is written into the log (`Due`) before it is acted on, so what is decided follows from the log alone,
and a controller that takes over waits for what is left of the pause. Meanwhile nobody holds anything for the task: its attempt is over on
the host, and the scheduler hears of the next one when it is due. A job that ends meanwhile ends the pause.
"""

from __future__ import annotations

from hashlib import blake2b
from heapq import heappop, heappush
from typing import NamedTuple

from headrace.controller.settings import Limits
from headrace.ledger import JobLedger, Ledger
from headrace_schemas import Events


def pause_seconds(limits: Limits, job: str, task: int, attempt: int, failures: int) -> float:
    """How long to wait after this attempt, with which the task has failed so many times.

    >>> [round(pause_seconds(Limits(), "k3v7", 4, attempt, attempt + 1), 3) for attempt in (0, 1, 9)]
    [0.095, 0.145, 22.961]
    """
    longest = min(limits.longest_pause_seconds, limits.pause_seconds * 2.0 ** min(failures - 1, 32))
    digest = blake2b(f"{job} {task} {attempt}".encode(), digest_size=8).digest()
    least = limits.least_pause_share
    return longest * (least + (1 - least) * int.from_bytes(digest) / 2**64)


class Pause(NamedTuple):
    """What waits to be due. time: when, by the log's clock."""

    time: float
    job: str
    task: int
    attempt: int


class Retries:
    """The pauses of all jobs, the next to end first. Those that nothing waits for any more are passed over."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pauses: list[Pause] = []

    def next(self, ledger: Ledger) -> float | None:
        """When the next pause ends, by the log's clock; None if there is none."""
        while self._pauses and not _matters(self._pauses[0], ledger):
            heappop(self._pauses)
        return self._pauses[0].time if self._pauses else None

    def failed(self, events: Events, time: float, ledger: Ledger) -> None:
        """A host's report was folded: begin the pauses of tasks that failed by it. time: by the log's clock."""
        job = ledger.jobs.get(events.job)
        if job is not None:
            for error in events.failed:
                self._begin(job, error.task, time)

    def interrupted(self, time: float, ledger: Ledger) -> None:
        """It was folded that a host joined or was lost: begin the pauses of tasks that were interrupted by it. time: by the log's clock."""
        for job in ledger.jobs.values():
            for task in job.interrupted:
                self._begin(job, task, time)

    def due(self, ledger: Ledger, now: float, most: int) -> list[tuple[str, list[Pause]]]:
        """The tasks whose pause is over, by job, at most so many of each. now: by the log's clock."""
        over: dict[str, list[Pause]] = {}
        later: list[Pause] = []
        while self._pauses and self._pauses[0].time <= now:
            pause = heappop(self._pauses)
            if _matters(pause, ledger):
                pauses = over.setdefault(pause.job, [])
                (pauses if len(pauses) < most else later).append(pause)
        for pause in later:
            heappush(self._pauses, pause)
        return sorted(over.items())

    def _begin(self, job: JobLedger, task: int, time: float) -> None:
        if 0 <= task < job.topology.n_tasks and job.is_paused(task):
            attempt = job.attempts[task]
            seconds = pause_seconds(self._limits, job.job, task, attempt, job.n_failures(task))
            heappush(self._pauses, Pause(time + seconds, job.job, task, attempt))


def _matters(pause: Pause, ledger: Ledger) -> bool:
    """Whether the task still waits for it."""
    job = ledger.jobs.get(pause.job)
    return job is not None and (job.end is None or job.reopened) and job.attempts[pause.task] == pause.attempt and job.is_paused(pause.task)
