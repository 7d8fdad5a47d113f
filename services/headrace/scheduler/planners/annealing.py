"""Simulated annealing: a plan is changed at random, and the simulator says whether that is better.

Kirkpatrick, Gelatt and Vecchi (1983), doi:10.1126/science.220.4598.671; for task graphs Orsila, Salminen and Hamalainen (2008), "Best
practices for simulated annealing in multiprocessor task distribution problems". The numbers are pseudo-random with a given seed, and
evaluations are counted rather than timed, so a plan depends on nothing but the problem.
"""

from __future__ import annotations

import numpy as np

from headrace.scheduler.planners.compiled import COMPILED, float_column, int_column
from headrace.scheduler.planners.plan import Placement, Plan
from headrace.scheduler.planners.problem import Problem
from headrace.scheduler.planners.score import best_of
from headrace.scheduler.planners.searching import anneal as anneal_columns
from headrace.scheduler.planners.simulate import simulate
from headrace.scheduler.planners.table import table_of

WORK = 4_500_000 if COMPILED else 90_000
"""Tasks and edges that all evaluations of one portfolio may simulate: about two seconds' worth."""
WARM, COLD = 0.01, 0.0003
"""Temperatures at the beginning and at the end, as shares of the makespan."""
COPIES = 3
"""Copies that a plan may have, per task."""


def size(problem: Problem) -> int:
    """Return the work of one evaluation: tasks, and edges, which cost more where more links share their bandwidth."""
    return problem.n_tasks + len(problem.topology.inputs) * (32 + problem.n_hosts) // 32 + 1


def anneal(problem: Problem, plan: Plan, evaluations: int, seed: int = 1) -> Plan:
    """Return a plan that is no worse, after so many evaluations. evaluations: with fewer than two, the plan is returned.

    Of the copies that came about on the way, those are left out that no task of their host needs, unless the plan is worse without them.
    """
    if evaluations < 2 or not len(problem.undone):
        return plan
    rows = len(plan.placement.task)
    room = np.zeros(COPIES * problem.n_tasks, dtype=np.int64)
    task, host = (int_column(np.concatenate((column, room))) for column in (plan.placement.task, plan.placement.host))
    order = float_column(np.concatenate((plan.placement.order, room)))
    rows, _ = anneal_columns(table_of(problem), task, host, order, rows, evaluations, WARM, COLD, seed)
    place = np.empty(rows, dtype=np.int32)
    place[np.argsort(np.array(order[:rows]), kind="stable")] = np.arange(rows)
    found = Placement(np.array(task[:rows], dtype=np.int32), np.array(host[:rows], dtype=np.int32), place)
    fewer = without_idle_copies(problem, found)
    tried = [simulate(problem, placement, "anneal") for placement in ([fewer, found] if fewer is not found else [found])]
    return best_of((plan, *tried))


def without_idle_copies(problem: Problem, placement: Placement) -> Placement:
    """Return the placement without copies of whose datasets no row on the same host takes any; the same placement if there are none."""
    shape, n = problem.topology, problem.n_tasks
    rows = list(zip(placement.task.tolist(), placement.host.tolist(), placement.order.tolist(), strict=True))
    copies = rows[n:]
    while True:
        taken = {
            (maker, host) for task, host, _ in (*rows[:n], *copies) for maker in shape.producer[shape.inputs_of(task)].tolist() if host >= 0
        }
        kept = [copy for copy in copies if copy[:2] in taken]
        if len(kept) == len(copies):
            break
        copies = kept
    if len(copies) == len(rows) - n:
        return placement
    return Placement.of(placement.host[:n], placement.order[:n], copies)
