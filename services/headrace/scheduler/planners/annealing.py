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

WORK = 3_000_000 if COMPILED else 60_000
"""Tasks and edges that all evaluations of one search may simulate: about a second's worth."""
WARM, COLD = 0.01, 0.0005
"""Temperatures at the beginning and at the end, as shares of the makespan."""
COPIES = 3
"""Copies that a plan may have, per task."""


def n_evaluations(problem: Problem, work: int = WORK) -> int:
    """Return how many placements to simulate: as many as make up the work, which is counted in tasks and edges."""
    return work // (problem.n_tasks + len(problem.topology.inputs) + 1)


def anneal(problem: Problem, plan: Plan, evaluations: int, seed: int = 1) -> Plan:
    """Return a plan that is no worse, after so many evaluations. evaluations: with one, the plan is returned."""
    if evaluations < 2 or not len(problem.undone):
        return plan
    rows = len(plan.placement.task)
    room = np.zeros(COPIES * problem.n_tasks, dtype=np.int64)
    task, host = (int_column(np.concatenate((column, room))) for column in (plan.placement.task, plan.placement.host))
    order = float_column(np.concatenate((plan.placement.order, room)))
    rows, _ = anneal_columns(table_of(problem), task, host, order, rows, evaluations, WARM, COLD, seed)
    place = np.empty(rows, dtype=np.int64)
    place[np.argsort(np.array(order[:rows]), kind="stable")] = np.arange(rows)
    found = Placement(*(np.array(column[:rows], dtype=np.int32) for column in (task, host, place)))
    return best_of((plan, simulate(problem, found, "anneal")))
