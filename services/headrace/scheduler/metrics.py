"""The scheduler's metrics: what it decided and how long that took, and where the work is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.scheduler.state import Scheduler
from headrace.telemetry import Family, Timing, counter, gauge, summary
from headrace_schemas import Assign, Decision, Plan, Reroute


class SchedulerCounts:
    """What was decided in this process."""

    def __init__(self) -> None:
        self.deciding = Timing()
        self.planning = Timing()
        self.planned = self.assignments = self.assigned = self.rerouted = 0

    def add_decisions(self, decisions: Iterable[Decision], seconds: float) -> None:
        """What followed from one batch of the log, and how long that took."""
        self.deciding.add(seconds)
        n_plans = 0
        for decision in decisions:
            if isinstance(decision, Assign):
                self.assignments += 1
                self.assigned += len(decision.tasks)
            elif isinstance(decision, Plan):
                n_plans += decision.part == 0
                self.planned += len(decision.tasks)
            elif isinstance(decision, Reroute):
                self.rerouted += len(decision.datasets)
        if n_plans:
            self.planning.add(seconds, n_plans)


def families(counts: SchedulerCounts, scheduler: Scheduler) -> Iterator[Family]:
    """How things stand. Only who leads knows."""
    window = scheduler.window()
    queued = {host: max(0, scheduler.load[host] - tasks) for host, tasks in window.items()}
    yield gauge("headrace_window_tasks", "Tasks released to a host and not done, by host.", window, "host")
    yield gauge("headrace_queued_tasks", "Tasks placed on a host and not released to it, by host.", queued, "host")
    yield gauge("headrace_unplanned_jobs", "Jobs that wait for a host to be planned on.", scheduler.n_unplanned)
    yield gauge("headrace_queued_jobs", "Jobs that wait because HEADRACE_OPEN_JOBS others are open.", scheduler.n_queued)
    yield summary("headrace_planning_seconds", "Jobs planned, and the time that took, with their first windows.", counts.planning)
    yield summary("headrace_deciding_seconds", "Batches of the log decided on, and the time that took, planning included.", counts.deciding)
    yield counter("headrace_planned_tasks_total", "Tasks of plans that were made.", counts.planned)
    yield counter("headrace_assignments_total", "Messages that released tasks to a host.", counts.assignments)
    yield counter("headrace_assigned_tasks_total", "Tasks released to hosts.", counts.assigned)
    yield counter("headrace_rerouted_datasets_total", "Datasets that a host was told to fetch from elsewhere.", counts.rerouted)
