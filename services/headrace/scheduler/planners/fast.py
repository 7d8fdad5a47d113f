"""The fast plan: chains in depth-first order, placed wave by wave; see `headrace.scheduler.wave_plan`.

It takes about a microsecond per task, so that it comes first in every job. Here it is one of the planners to be compared.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headrace.scheduler import wave_plan
from headrace.scheduler.placing import Balance
from headrace.scheduler.planners.plan import NOWHERE, Placement, Plan
from headrace.scheduler.planners.problem import Problem
from headrace.scheduler.planners.simulate import simulate

LONGEST_CHAIN = 10_000
"""Tasks in a chain: far more than the scheduler fuses, since nothing is released chain by chain here."""


def fast(problem: Problem) -> Plan:
    """Plan as the scheduler does before it knows better."""
    shape = replace(problem.topology, function=np.arange(problem.n_tasks, dtype=np.int32))  # so that each task has its own cost
    costs = wave_plan.Costs(tuple(problem.seconds.tolist()), dataset_bytes=tuple(problem.nbytes.tolist()))
    balance = Balance([host.runners * host.speed for host in problem.hosts])
    placed = wave_plan.plan(shape, balance, costs, LONGEST_CHAIN, problem.demand)
    host, order = np.zeros(problem.n_tasks, dtype=np.int32), np.zeros(problem.n_tasks, dtype=np.int32)
    host[placed.tasks] = np.repeat(placed.placed, placed.lengths)
    order[placed.tasks] = np.arange(problem.n_tasks)
    if len(problem.done):
        host[problem.done] = NOWHERE
    return simulate(problem, Placement.of(host, order), "fast")
