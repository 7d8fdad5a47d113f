"""Depth first, for least memory: a dataset is used as soon as it can be, and neighbours stay on one host.

A post-order walk from the sinks, the larger inputs first, as Sethi and Ullman (1970, doi:10.1145/321607.321620) order the operands of an
expression, so that large datasets are there while few others are. The walk is cut into one piece per host, in proportion to what the
hosts execute per second.
"""

from __future__ import annotations

import numpy as np

from headrace.scheduler.planners.plan import NOWHERE, Placement, Plan
from headrace.scheduler.planners.problem import Floats, Problem
from headrace.scheduler.planners.sequences import Order, place_of
from headrace.scheduler.planners.simulate import simulate


def depth_first(problem: Problem) -> Plan:
    """Plan so that few datasets are held at a time."""
    sequence = walk(problem)
    host = np.full(problem.n_tasks, NOWHERE)
    host[sequence] = cut(problem, sequence, problem.seconds[sequence])
    for task in problem.undone.tolist():
        if not problem.may_run(task, int(host[task])):
            host[task] = problem.allowed[problem.kind[task]][task % len(problem.allowed[problem.kind[task]])]
    return simulate(problem, Placement.of(host, place_of(sequence, problem.n_tasks)), "depth_first")


def walk(problem: Problem) -> Order:
    """Return the tasks to be planned in post-order from the sinks, in the order of their ids."""
    shape = problem.topology
    inputs, start, producer, size = shape.inputs.tolist(), shape.input_start.tolist(), shape.producer.tolist(), problem.nbytes.tolist()
    seen = problem.done.tolist() if len(problem.done) else [False] * problem.n_tasks
    sequence: list[int] = []
    for sink in sinks(problem):
        stack = [(sink, False)]
        while stack:
            task, entered = stack.pop()
            if entered:
                sequence.append(task)
            elif not seen[task]:
                seen[task] = True
                stack.append((task, True))
                taken = sorted(inputs[start[task] : start[task + 1]], key=size.__getitem__)
                stack.extend((producer[dataset], False) for dataset in taken)
    return np.array(sequence, dtype=np.int64)


def sinks(problem: Problem) -> list[int]:
    """Return the tasks to be planned of which no other task takes anything."""
    feeds = np.zeros(problem.n_tasks, dtype=np.bool_)
    feeds[problem.topology.producer[problem.topology.inputs]] = True
    return [task for task in problem.undone.tolist() if not feeds[task]]


def cut(problem: Problem, tasks: Order, weight: Floats) -> Order:
    """Return a host for each task of a sequence: consecutive tasks together, in proportion to what each host executes per second."""
    share = np.cumsum([host.runners * host.speed for host in problem.hosts])
    done = np.cumsum(weight)
    if not len(tasks) or done[-1] <= 0:
        return np.arange(len(tasks)) * problem.n_hosts // max(len(tasks), 1)
    return np.minimum(np.searchsorted(share * (done[-1] / share[-1]), done - weight / 2), problem.n_hosts - 1)
