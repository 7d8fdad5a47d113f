"""Lower bounds of the makespan: no plan is shorter, however fast the links are."""

from __future__ import annotations

from headrace.scheduler.planners.listing import upward_ranks
from headrace.scheduler.planners.problem import Problem
from headrace.scheduler.planners.table import table_of


def critical_path(problem: Problem) -> float:
    """Return the seconds of the longest path of the tasks to be planned, on the fastest host and without transfers."""
    table, fastest = table_of(problem), max(host.speed for host in problem.hosts)
    mean = sum(host.speed for host in problem.hosts) / problem.n_hosts
    ranks = upward_ranks(table, 0.0)
    return max((ranks[task] for task in problem.undone.tolist()), default=0.0) * mean / fastest


def total_work(problem: Problem) -> float:
    """Return the seconds that all runners together need for the tasks to be planned."""
    return float(problem.seconds[problem.undone].sum()) / sum(host.runners * host.speed for host in problem.hosts)


def lower_bound(problem: Problem) -> float:
    """Return the larger one of the bounds."""
    return max(critical_path(problem), total_work(problem))
