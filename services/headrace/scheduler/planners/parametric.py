"""Parametric list scheduling: the same loop with other priorities, other estimates of the links, and fewer hosts.

After Coleman, Agrawal, Hirani and Krishnamachari (2024), "Parameterized task graph scheduling algorithm for comparing algorithmic
components", arXiv:2403.07112. The variants pay where links are the bottleneck: to count a transfer several times keeps data where it is; to
let a link carry one transfer at a time predicts contention; and on slow networks few hosts are faster than many.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.scheduler.planners.listing import upward_ranks
from headrace.scheduler.planners.plan import Placement, Plan
from headrace.scheduler.planners.problem import Problem
from headrace.scheduler.planners.score import best_of
from headrace.scheduler.planners.sequences import by_priority, placed_by_list
from headrace.scheduler.planners.simulate import simulate
from headrace.scheduler.planners.table import Table, table_of

SLOWER = (2.0, 4.0, 8.0, 16.0)
"""How many times a transfer counts."""
RANKS = (0.0, 4.0)
"""How many times a transfer counts in the priorities, where links carry one transfer at a time."""


def parametric(problem: Problem) -> Plan:
    """Plan by the best of about 15 list schedules."""
    table = table_of(problem)
    return best_of(simulate(problem, placement, "parametric") for placement in variants(problem, table))


def variants(problem: Problem, table: Table) -> Iterator[Placement]:
    """Yield placements that differ in how transfers are estimated and how many hosts are used."""
    plain = by_priority(problem, upward_ranks(table, 1.0))
    for slow in SLOWER:
        yield placed_by_list(problem, table, by_priority(problem, upward_ranks(table, slow)), slow)
    for ranks in RANKS:
        yield placed_by_list(problem, table, by_priority(problem, upward_ranks(table, ranks)), serial=True)
    count = 1
    while count < problem.n_hosts:
        yield placed_by_list(problem, table, plain, n_hosts=count)
        yield placed_by_list(problem, table, plain, serial=True, n_hosts=count)
        count *= 2
    yield placed_by_list(problem, table, plain, serial=True)
