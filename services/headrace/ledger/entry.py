"""Jobs as people see them: what the bucket `jobs` says of one, and a client of its own."""

from __future__ import annotations

from headrace.ledger.job import JobLedger
from headrace_schemas import JobEntry


def entry_of(job: JobLedger) -> JobEntry:
    """What the bucket says of a job."""
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
