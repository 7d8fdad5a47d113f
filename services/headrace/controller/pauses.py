"""The pauses between attempts of a task. They double from attempt to attempt.

When a pause is over, the controller writes `Due` into the log before it acts. So its decisions follow from the log alone, and a controller
that takes over waits for the rest of the pause. During the pause no host or service holds anything for the task: the attempt is over on the
host, and the scheduler reads of the next one when it is due. The end of the job ends the pause.
"""

from __future__ import annotations

from hashlib import blake2b
from heapq import heappop, heappush
from typing import NamedTuple

from headrace.controller.settings import Limits
from headrace.ledger import JobLedger, Ledger
from headrace_schemas import Events


def pause_seconds(limits: Limits, job: str, task: int, attempt: int, failures: int) -> float:
    """Return the pause after a failed attempt, in seconds. failures: how many attempts of the task have failed, including this one.

    >>> [round(pause_seconds(Limits(), "k3v7", 4, attempt, attempt + 1), 3) for attempt in (0, 1, 9)]
    [0.095, 0.145, 22.961]
    """
    longest = min(limits.longest_pause_seconds, limits.pause_seconds * 2.0 ** min(failures - 1, 32))
    digest = blake2b(f"{job} {task} {attempt}".encode(), digest_size=8).digest()
    least = limits.least_pause_share
    return longest * (least + (1 - least) * int.from_bytes(digest) / 2**64)


class Pause(NamedTuple):
    """A pause of a task. time: its end, by the log's clock."""

    time: float
    job: str
    task: int
    attempt: int


class Pauses:
    """The pauses of all jobs, the next to end first. Pauses whose task no longer waits are skipped."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pauses: list[Pause] = []

    def next(self, ledger: Ledger) -> float | None:
        """Return the time at which the next pause ends, by the log's clock, or None if there is no pause."""
        while self._pauses and not _matters(self._pauses[0], ledger):
            heappop(self._pauses)
        return self._pauses[0].time if self._pauses else None

    def failed(self, events: Events, time: float, ledger: Ledger) -> None:
        """Begin the pauses of tasks that failed in a host's report. time: that of the report, by the log's clock."""
        job = ledger.jobs.get(events.job)
        if job is not None:
            for error in events.failed:
                self._begin(job, error.task, time)

    def interrupted(self, time: float, ledger: Ledger) -> None:
        """Begin the pauses of tasks that were running on a host that was lost. time: that of the loss, by the log's clock."""
        for job in ledger.jobs.values():
            for task in job.interrupted:
                self._begin(job, task, time)

    def due(self, ledger: Ledger, now: float, most: int) -> list[tuple[str, list[Pause]]]:
        """Return the pauses that are over, by job, at most `most` of each job. now: by the log's clock."""
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
    """Whether a task still waits for a pause."""
    job = ledger.jobs.get(pause.job)
    return job is not None and (job.end is None or job.reopened) and job.attempts[pause.task] == pause.attempt and job.is_paused(pause.task)
