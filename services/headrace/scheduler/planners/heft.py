"""HEFT: the task with the longest way to the end goes next, to the host where it ends first.

Topcuoglu, Hariri and Wu (2002), "Performance-effective and low-complexity task scheduling for heterogeneous computing",
doi:10.1109/71.993206: upward ranks with mean costs, and insertion into gaps. Each runner is a processor; those of a host share its data.
Transfers are predicted as if links were idle.
"""

from __future__ import annotations

from headrace.scheduler.planners.listing import upward_ranks
from headrace.scheduler.planners.plan import Plan
from headrace.scheduler.planners.problem import Problem
from headrace.scheduler.planners.sequences import by_priority, placed_by_list
from headrace.scheduler.planners.simulate import simulate
from headrace.scheduler.planners.table import table_of


def heft(problem: Problem) -> Plan:
    """Plan by heterogeneous earliest finish time."""
    table = table_of(problem)
    return simulate(problem, placed_by_list(problem, table, by_priority(problem, upward_ranks(table, 1.0))), "heft")
