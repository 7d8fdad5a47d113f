"""Parametric list scheduling: the same loop with other priorities, other estimates of the links, and fewer hosts.

After Coleman, Agrawal, Hirani and Krishnamachari (2024), "Parameterized task graph scheduling algorithm for comparing algorithmic
components", arXiv:2403.07112. The variants pay where links are the bottleneck: to count a transfer several times keeps data where it is; to
let a link carry one transfer at a time predicts contention; and on slow networks few hosts are faster than many.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from headrace.scheduler.planners.compiled import COMPILED
from headrace.scheduler.planners.listing import upward_ranks
from headrace.scheduler.planners.plan import Placement, Plan
from headrace.scheduler.planners.problem import Problem
from headrace.scheduler.planners.score import best_of
from headrace.scheduler.planners.sequences import by_priority, placed_by_list
from headrace.scheduler.planners.simulate import simulate
from headrace.scheduler.planners.table import Table, table_of

WORK = 8_000_000 if COMPILED else 80_000
"""Cells of tasks and edges by hosts that all lists together may fill: about a second's worth."""


class Variant(NamedTuple):
    """What differs between two lists. ranks: how many times a transfer counts in the priorities; the others as in `placed_by_list`."""

    ranks: float = 1.0
    slow: float = 1.0
    serial: bool = False
    patience: float = 0.0
    n_hosts: int | None = None


VARIANTS = (
    Variant(serial=True),
    Variant(serial=True, patience=1.0),
    Variant(4.0, 4.0),
    Variant(0.0, serial=True),
    Variant(16.0, 16.0),
    Variant(0.0, serial=True, patience=1.0),
    Variant(patience=1.0),
    Variant(4.0, serial=True, patience=0.5),
    Variant(8.0, 8.0),
    Variant(2.0, 2.0),
    Variant(4.0, 4.0, patience=2.0),
    Variant(4.0, serial=True),
)
"""The lists, the most useful ones first: of large graphs only some are made."""


def parametric(problem: Problem) -> Plan:
    """Plan by the best of up to 25 list schedules."""
    return best_of(list_plans(problem))


def list_plans(problem: Problem) -> list[Plan]:
    """Return all plans that `parametric` chooses from."""
    return [simulate(problem, placement, "parametric") for placement in placements(problem, table_of(problem))]


def placements(problem: Problem, table: Table) -> Iterator[Placement]:
    """Yield the placements of the lists that `WORK` suffices for, one at least."""
    cells = (problem.n_tasks + len(problem.topology.inputs)) * problem.n_hosts
    for variant in (*VARIANTS, *_fewer_hosts(problem))[: max(1, WORK // max(1, cells))]:
        sequence = by_priority(problem, upward_ranks(table, variant.ranks))
        yield placed_by_list(problem, table, sequence, *variant[1:])


def _fewer_hosts(problem: Problem) -> Iterator[Variant]:
    """Yield lists for half of the hosts, a quarter, and so on."""
    count = problem.n_hosts // 2
    while count:
        yield Variant(serial=True, patience=1.0, n_hosts=count)
        yield Variant(serial=True, n_hosts=count)
        yield Variant(n_hosts=count)
        count //= 2
