"""What tasks did to the hosts that they ran on: hosts that were lost under them, and hosts whose memory was not enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from headrace.ledger.job import JobLedger

SUSPECT_AFTER = 2
"""Lost hosts that a task was running on, from which on it runs alone: hosts are lost for many reasons, but seldom twice under one task."""


class Interruption(NamedTuple):
    """An attempt that was running on a host that was lost. why: as the log says of the host. died: whether the host ended, as far as is
    known: one that only lost its lease comes back with what it holds."""

    attempt: int
    host: str
    why: str
    died: bool = True


def runs_alone(job: JobLedger, task: int) -> bool:
    """Whether nothing else is to be executed beside a task: hosts were lost under it again and again, or it was out of memory."""
    if not job.interrupted and not job.failures:
        return False
    return len(host_deaths(job, task)) >= SUSPECT_AFTER or too_small_for(job, task) > 0


def host_deaths(job: JobLedger, task: int) -> list[Interruption]:
    """The attempts of a task that were running on hosts when these died."""
    return [each for each in job.interrupted.get(task, ()) if each.died]


def too_small_for(job: JobLedger, task: int) -> int:
    """Bytes of memory with which a host was too small for a task; 0 if it was never out of memory."""
    errors = job.failures.get(task, {}).values()
    return max((max(1, error.limit) for error in errors if error.reason == "out_of_memory"), default=0)
