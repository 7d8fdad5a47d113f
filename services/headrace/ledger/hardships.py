"""The harm that tasks did to their hosts: hosts that were lost while they ran a task, and hosts with too little memory for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from headrace.ledger.job import JobLedger

SUSPECT_AFTER = 2
"""A task runs alone once this many hosts died while they ran it. One death may have any reason; two deaths under one task are rare."""


class Interruption(NamedTuple):
    """An attempt that was running on a host when the host was lost.

    why: the reason for the loss in the log. died: False once the host has rejoined, for then it had only lost its lease.
    """

    attempt: int
    host: str
    why: str
    died: bool = True


def runs_alone(job: JobLedger, task: int) -> bool:
    """Whether a task must run alone on its host, because several hosts died under it or it ran out of memory."""
    if not job.interrupted and not job.failures:
        return False
    return len(host_deaths(job, task)) >= SUSPECT_AFTER or too_small_for(job, task) > 0


def host_deaths(job: JobLedger, task: int) -> list[Interruption]:
    """List the attempts of a task that were running on a host when the host died."""
    return [each for each in job.interrupted.get(task, ()) if each.died]


def too_small_for(job: JobLedger, task: int) -> int:
    """Return the largest memory limit, in bytes, under which a task ran out of memory; 0 if it never did."""
    errors = job.failures.get(task, {}).values()
    return max((max(1, error.limit) for error in errors if error.reason == "out_of_memory"), default=0)
