"""The portfolio: every member plans, each plan is simulated, and the best ones are annealed."""

from __future__ import annotations

from collections.abc import Callable

from headrace.scheduler.planners.annealing import WORK, anneal, size
from headrace.scheduler.planners.cpop import cpop
from headrace.scheduler.planners.depth_first import depth_first
from headrace.scheduler.planners.fast import fast
from headrace.scheduler.planners.heft import heft
from headrace.scheduler.planners.parametric import list_plans, parametric
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
MEMBERS_COST = 75
"""What all members take together, in evaluations."""
SEARCHES = 3
"""How many of the best plans are annealed, with half of the evaluations; the other half goes on with the best one found."""


def portfolio(problem: Problem, work: int = WORK) -> Plan:
    """Return the best plan of all members and of annealing. Its `planner` says which one made it.

    work: tasks and edges that may be simulated.
    """
    plans = [member(problem) for name, member in MEMBERS.items() if name != "parametric"] + list_plans(problem)
    starts = _different(sorted(plans, key=score))[:SEARCHES]
    evaluations = work // size(problem) - MEMBERS_COST
    found = [anneal(problem, start, evaluations // (2 * len(starts)), seed) for seed, start in enumerate(starts, 1)]
    best = best_of([*plans, *found])
    return best_of([best, anneal(problem, best, evaluations // 2, SEARCHES + 1)])


def _different(plans: list[Plan]) -> list[Plan]:
    """Return the plans without those whose outcome is that of an earlier one."""
    return list({score(plan): plan for plan in reversed(plans)}.values())[::-1]
