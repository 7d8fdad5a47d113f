"""The portfolio: every member plans, each plan is simulated, and the best ones are annealed."""

from __future__ import annotations

from collections.abc import Callable

from headrace.scheduler.planners.annealing import WORK, anneal, n_evaluations
from headrace.scheduler.planners.cpop import cpop
from headrace.scheduler.planners.depth_first import depth_first
from headrace.scheduler.planners.fast import fast
from headrace.scheduler.planners.heft import heft
from headrace.scheduler.planners.parametric import parametric
from headrace.scheduler.planners.paths import paths
from headrace.scheduler.planners.plan import Plan
from headrace.scheduler.planners.problem import Problem
from headrace.scheduler.planners.score import best_of, score
from headrace.scheduler.planners.sink_partition import broadcast, cheaper, recompute

Planner = Callable[[Problem], Plan]

MEMBERS: dict[str, Planner] = {
    "heft": heft,
    "cpop": cpop,
    "paths": paths,
    "broadcast": broadcast,
    "recompute": recompute,
    "cheaper": cheaper,
    "depth_first": depth_first,
    "fast": fast,
    "parametric": parametric,
}
"""The members by name."""
SEARCHES = 2
"""How many of the best plans are annealed, with equal shares of the evaluations."""


def portfolio(problem: Problem, work: int = WORK) -> Plan:
    """Return the best plan of all members and of annealing. Its `planner` says which one made it.

    work: tasks and edges that annealing may simulate.
    """
    plans = [member(problem) for member in MEMBERS.values()]
    starts = sorted(plans, key=score)[:SEARCHES]
    found = [anneal(problem, start, n_evaluations(problem, work) // len(starts), seed) for seed, start in enumerate(starts, 1)]
    return best_of([*plans, *found])
