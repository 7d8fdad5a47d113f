"""CPOP: the critical path stays on one processor, and everything else goes where it ends first.

Topcuoglu, Hariri and Wu (2002), doi:10.1109/71.993206. The priority of a task is the length of the longest path through it. All tasks
of one longest path go to the host that executes them fastest, of those that have what they need.
"""

from __future__ import annotations

import heapq

import numpy as np

from headrace.scheduler.planners.listing import downward_ranks, upward_ranks
from headrace.scheduler.planners.plan import Plan
from headrace.scheduler.planners.problem import Floats, Problem
from headrace.scheduler.planners.sequences import Order, placed_by_list
from headrace.scheduler.planners.simulate import simulate
from headrace.scheduler.planners.table import table_of

ROUNDING = 1e-9
"""Share of the critical path by which the path through a task of it may seem shorter."""


def cpop(problem: Problem) -> Plan:
    """Plan with the critical path on a processor."""
    table = table_of(problem)
    priority = np.array(upward_ranks(table, 1.0)) + np.array(downward_ranks(table, 1.0))
    pinned = np.full(problem.n_tasks, -1)
    path = _critical_path(problem, priority)
    able = [host for host in range(problem.n_hosts) if all(problem.may_run(task, host) for task in path)]
    if able:
        pinned[path] = max(able, key=lambda host: problem.hosts[host].speed)
    return simulate(problem, placed_by_list(problem, table, _ready_first(problem, priority), pinned=pinned), "cpop")


def _critical_path(problem: Problem, priority: Floats) -> list[int]:
    """Return one longest path, source first."""
    shape, longest = problem.topology, priority[problem.undone].max(initial=0.0) * (1 - ROUNDING)
    path: list[int] = []
    following = [task for task in problem.undone.tolist() if priority[task] >= longest and not _undone_inputs(problem, task)]
    while following:
        path.append(min(following))
        consumers = {int(task) for dataset in shape.outputs_of(path[-1]) for task in shape.consumers_of(dataset)}
        following = [task for task in consumers if priority[task] >= longest and not problem.is_done(task)]
    return path


def _undone_inputs(problem: Problem, task: int) -> list[int]:
    makers = problem.topology.producer[problem.topology.inputs_of(task)].tolist()
    return [maker for maker in makers if not problem.is_done(maker)]


def _ready_first(problem: Problem, priority: Floats) -> Order:
    """Return the tasks in the order in which a queue of ready ones, highest priority first, yields them."""
    shape = problem.topology
    missing = {task: len(_undone_inputs(problem, task)) for task in problem.undone.tolist()}
    ready = [(-priority[task], task) for task, count in missing.items() if not count]
    heapq.heapify(ready)
    sequence = []
    while ready:
        _, task = heapq.heappop(ready)
        sequence.append(task)
        for dataset in shape.outputs_of(task):
            for consumer in shape.consumers_of(dataset).tolist():
                if consumer in missing:
                    missing[consumer] -= 1
                    if not missing[consumer]:
                        heapq.heappush(ready, (-priority[consumer], consumer))
    return np.array(sequence, dtype=np.int64)
