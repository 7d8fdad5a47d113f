"""The scheduler's metrics: its decisions, the time that they took, and the tasks on each host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from headrace.scheduler.state import Scheduler
from headrace.telemetry import Family, Timing, counter, gauge, summary
from headrace_schemas import Assign, Decision, Plan, Reroute


class SchedulerCounts:
    """Counts of the decisions in this process."""

    def __init__(self) -> None:
        self.deciding = Timing()
        self.planning = Timing()
        self.planned = self.assignments = self.assigned = self.rerouted = 0

    def add_decisions(self, decisions: Iterable[Decision], seconds: float) -> None:
        """Count the decisions that followed from one batch of the log. seconds: the time that it took to make them."""
        self.deciding.add(seconds)
        n_plans = 0
        for decision in decisions:
            add = _ADD.get(type(decision))
            if add is not None:
                n_plans += add(self, decision)
        if n_plans:
            self.planning.add(seconds, n_plans)

    def _add_assign(self, assign: Assign) -> int:
        self.assignments += 1
        self.assigned += len(assign.tasks)
        return 0

    def _add_plan(self, plan: Plan) -> int:
        self.planned += len(plan.tasks)
        return int(plan.part == 0)

    def _add_reroute(self, reroute: Reroute) -> int:
        self.rerouted += len(reroute.datasets)
        return 0


_ADD: dict[type[Any], Callable[[SchedulerCounts, Any], int]] = {
    Assign: SchedulerCounts._add_assign,
    Plan: SchedulerCounts._add_plan,
    Reroute: SchedulerCounts._add_reroute,
}
"""The function that counts each type of decision, and returns how many plans begin with it."""


def families(counts: SchedulerCounts, scheduler: Scheduler) -> Iterator[Family]:
    """Export the metrics of a leading scheduler."""
    window = scheduler.window()
    queued = {host: max(0, scheduler.load[host] - tasks) for host, tasks in window.items()}
    yield gauge("headrace_window_tasks", "Tasks that are released to a host and not done, by host.", window, "host")
    yield gauge("headrace_queued_tasks", "Tasks that are placed on a host and not released to it, by host.", queued, "host")
    yield gauge("headrace_unplanned_jobs", "Jobs that wait for a host that can run them.", scheduler.n_unplanned)
    yield gauge("headrace_queued_jobs", "Jobs that wait because HEADRACE_OPEN_JOBS others are open.", scheduler.n_queued)
    yield summary("headrace_planning_seconds", "Time to plan a job and release its first windows.", counts.planning)
    yield summary("headrace_deciding_seconds", "Time to decide on a batch of the log, planning included.", counts.deciding)
    yield counter("headrace_planned_tasks_total", "Tasks in the plans that were made.", counts.planned)
    yield counter("headrace_assignments_total", "Messages that released tasks to a host.", counts.assignments)
    yield counter("headrace_assigned_tasks_total", "Tasks released to hosts.", counts.assigned)
    yield counter("headrace_rerouted_datasets_total", "Datasets that a host was told to fetch from another host.", counts.rerouted)
