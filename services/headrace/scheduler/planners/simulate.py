"""A discrete-event simulator: what happens when hosts execute a placement.

The rules, all deterministic:

- A host executes as many rows at once as it has runners. When a runner is idle, the host starts the ready row with the lowest order: one
  whose inputs are all on the host, and whose resources are free. It never leaves a runner idle on purpose.
- A dataset is transferred once to each host that takes it and does not make it. The transfer begins when the first row that makes the
  dataset ends, from the host of that row; the datasets of a generator are spread evenly over its duration. A host that makes a dataset
  itself never receives it.
- The first byte comes after the latency. From then on all transfers share the links by max-min fairness.
- A dataset holds memory on the host that makes it from the start of its row, and on a host that receives it from the start of its
  transfer. It is dropped once all rows of that host that take it have ended and all transfers from that host are over, except where it
  was asked for. Memory is accounted for, and holds nothing back.
"""

from __future__ import annotations

import math

import numpy as np

from headrace.scheduler.planners.compiled import int_column
from headrace.scheduler.planners.execution import execute, make_outcome
from headrace.scheduler.planners.plan import Placement, Plan
from headrace.scheduler.planners.problem import Problem
from headrace.scheduler.planners.table import table_of


def simulate(problem: Problem, placement: Placement, planner: str) -> Plan:
    """Return the plan that a placement is, with its predicted execution. planner: the name of the planner that made it."""
    task, host, order = (int_column(column) for column in (placement.task, placement.host, placement.order))
    table, outcome = table_of(problem), make_outcome(len(placement.task), problem.n_hosts)
    makespan = execute(table, task, host, order, table.seconds, math.inf, outcome)
    peak = np.array(outcome.peak)
    return Plan(
        planner=planner,
        placement=placement,
        n_tasks=problem.n_tasks,
        runner=np.array(outcome.runner, dtype=np.int32),
        start=np.array(outcome.start),
        end=np.array(outcome.end),
        makespan=makespan,
        received=np.array(outcome.received),
        peak_memory=peak,
        fits=bool((peak <= np.array([host.memory for host in problem.hosts])).all()),
    )
