"""The controller's metrics: its decisions, its jobs, and the space in the streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from headrace.ledger import STATE_NAMES, JobLedger, Ledger
from headrace.telemetry import Family, Timing, counter, gauge, summary
from headrace.usage import Usage
from headrace_schemas import Ended, Needed, Purge

GOING_ON = ("queued", "running")
REFUSALS = ("unreadable", "unknown_job", "too_large")
"""The reasons for which requests are refused."""
ENDS = ("done", "failed", "cancelled")


class ControllerCounts:
    """Counts of the decisions since this controller began to lead."""

    def __init__(self) -> None:
        self.jobs = {state: Timing() for state in ENDS}
        self.needed = 0
        self.purged = 0

    def add_decision(self, decision: Ended | Needed | Purge, job_seconds: float) -> None:
        """Count a decision. job_seconds: time since its job was submitted."""
        if isinstance(decision, Ended):
            self.jobs[decision.state].add(job_seconds)
        elif isinstance(decision, Needed):
            self.needed += len(decision.tasks)
        else:
            self.purged += len(decision.datasets)


def families(counts: ControllerCounts, ledger: Ledger, hosts_lost: int, refused: Mapping[str, int]) -> Iterator[Family]:
    """Export the metrics of a leading controller. refused: the number of refused requests, by reason."""
    going_on = [job for job in ledger.jobs.values() if job.end is None]
    phases: Counter[str] = Counter(job.phase for job in going_on)
    yield gauge("headrace_jobs", "Jobs that are not over, by state.", {state: phases[state] for state in GOING_ON}, "state")
    yield gauge("headrace_tasks", "Tasks of jobs that are not over, by state.", _tasks(going_on), "state")
    yield summary("headrace_job_seconds", "Seconds from the submission of a job to its end, by final state.", counts.jobs, "state")
    yield counter(
        "headrace_tasks_needed_again_total", "Tasks that must run again because they failed or their datasets were lost.", counts.needed
    )
    yield counter("headrace_purged_datasets_total", "Copies of datasets that hosts were asked to drop.", counts.purged)
    yield gauge("headrace_hosts", "Hosts that are alive.", len(ledger.hosts.alive()))
    yield counter("headrace_hosts_lost_total", "Hosts that left or were lost.", hosts_lost)
    requests = {why: refused.get(why, 0) for why in REFUSALS}
    yield counter("headrace_requests_refused_total", "Requests of clients that were refused, by reason.", requests, "why")


def stream_families(usages: Mapping[str, Usage]) -> Iterator[Family]:
    """Export the size of each stream, and its limit if it has one."""
    held = {name: float(usage.bytes) for name, usage in usages.items()}
    limits = {name: float(usage.limit) for name, usage in usages.items() if usage.limit}
    yield gauge("headrace_stream_bytes", "Bytes in each stream of the cluster.", held, "stream")
    yield gauge("headrace_stream_limit_bytes", "The most bytes that each stream may hold.", limits, "stream")


def _tasks(jobs: Iterable[JobLedger]) -> dict[str, float]:
    totals = dict.fromkeys(STATE_NAMES, 0.0)
    for job in jobs:
        for state, count in job.task_counts().items():
            totals[state] += count
    return totals
