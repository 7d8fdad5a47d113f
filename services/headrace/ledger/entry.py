"""Entries of the bucket `jobs`, which shows the state of each job to people and clients."""

from __future__ import annotations

from headrace.ledger.job import JobLedger
from headrace_schemas import JobEntry


def entry_of(job: JobLedger) -> JobEntry:
    """Summarise a job for the bucket `jobs`."""
    end = job.end
    return JobEntry(
        job=job.job,
        name=job.name,
        state=job.phase,
        n_tasks=job.n_tasks,
        n_done=job.n_done,
        client=job.client,
        error=end.reason if end is not None else "",
        submitted=job.submitted,
        ended=job.ended_at,
    )
