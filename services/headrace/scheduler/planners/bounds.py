"""Lower bounds of the makespan: no plan is shorter."""

from __future__ import annotations

import numpy as np

from headrace.scheduler.planners.listing import downward_ranks, upward_ranks
from headrace.scheduler.planners.problem import Floats, Problem
from headrace.scheduler.planners.table import table_of

LEVELS = 200
"""Distances from the end of the graph that `heads_and_tails` looks at, at most twice as many."""


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
    """Return the larger one of the critical path and the total work."""
    return max(critical_path(problem), total_work(problem))


def heads_and_tails(problem: Problem) -> float:
    """Return a bound for graphs that are narrow at their ends, at least as high as the total work.

    Some tasks cannot start before a time, and after their end a further time passes at least. All runners share the work of these tasks in
    between; so it is for any two such times (Carlier 1982, doi:10.1016/S0377-2217(82)80007-6, for one machine).
    """
    table, tasks = table_of(problem), problem.undone
    if not len(tasks):
        return 0.0
    fastest, mean = max(host.speed for host in problem.hosts), sum(host.speed for host in problem.hosts) / problem.n_hosts
    seconds, rate = problem.seconds[tasks], sum(host.runners * host.speed for host in problem.hosts)
    head = np.array(downward_ranks(table, 0.0))[tasks] * mean / fastest
    tail = np.maximum(0.0, np.array(upward_ranks(table, 0.0))[tasks] * mean / fastest - seconds / fastest)
    latest_first = np.argsort(-head, kind="stable")
    head, tail, seconds = head[latest_first], tail[latest_first], seconds[latest_first]
    levels = np.unique(tail)[:: max(1, len(np.unique(tail)) // LEVELS)]
    return float(max((head + np.cumsum(np.where(tail >= level, seconds, 0.0)) / rate)[tail >= level].max() + level for level in levels))


def reception(problem: Problem) -> float:
    """Return a bound for tasks with large inputs: a host that executes such a task makes its inputs itself, or receives them.

    The best host splits them so that the runners and the link are busy equally long; then come the task and the longest path behind it.
    """
    shape, widest = problem.topology, max(host.bandwidth for host in problem.hosts)
    rate = max(host.runners * host.speed for host in problem.hosts)
    fastest, mean = max(host.speed for host in problem.hosts), sum(host.speed for host in problem.hosts) / problem.n_hosts
    ranks, best = upward_ranks(table_of(problem), 0.0), 0.0
    for task in problem.undone.tolist():
        datasets = shape.inputs_of(task)
        makers, which = np.unique(shape.producer[datasets], return_inverse=True)
        if len(makers) and not len(problem.done) and not shape.is_generator[makers].any():
            link = np.bincount(which, problem.nbytes[datasets]) / widest
            best = max(best, _split(problem.seconds[makers] / rate, link) + ranks[task] * mean / fastest)
    return best


def _split(work: Floats, link: Floats) -> float:
    """Return how long it takes to have all items, each by seconds of work or by seconds on a link; items may be divided."""
    order = np.argsort(work / np.maximum(link, 1e-300), kind="stable")  # first what is made quickly and sent slowly
    done, left = np.cumsum(work[order]), link.sum() - np.cumsum(link[order])
    at = int(np.argmax(done >= left))  # the item that is divided
    before, after = done[at] - work[order][at], left[at] + link[order][at]
    if before >= after:
        return float(before)
    share = (after - before) / max(work[order][at] + link[order][at], 1e-300)
    return float(before + share * work[order][at])


def tight_bound(problem: Problem) -> float:
    """Return the highest bound. The ones beyond `lower_bound` tell how much of a gap to it any plan could close."""
    return max(lower_bound(problem), heads_and_tails(problem), reception(problem))
