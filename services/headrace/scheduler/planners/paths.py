"""Paths through the graph, the heaviest first, each fused and mapped to a host.

Linear clustering after Kim and Browne (1988), "A general approach to mapping of parallel computations upon multiprocessor architectures":
from the task with the longest way to the end, follow the heaviest consumer that belongs to no path yet. A path goes to the host that
would have done it first, given the work that it has and the bytes that it lacks.
"""

from __future__ import annotations

import numpy as np

from headrace.scheduler.planners.listing import upward_ranks
from headrace.scheduler.planners.plan import NOWHERE, Placement, Plan
from headrace.scheduler.planners.problem import Floats, Problem
from headrace.scheduler.planners.sequences import by_priority, place_of
from headrace.scheduler.planners.simulate import simulate
from headrace.scheduler.planners.table import table_of


def paths(problem: Problem) -> Plan:
    """Plan by heaviest paths."""
    rank = np.array(upward_ranks(table_of(problem), 1.0))
    sequence = by_priority(problem, rank)
    host = np.full(problem.n_tasks, NOWHERE)
    load = np.zeros(problem.n_hosts)
    for start in sequence.tolist():
        if host[start] == NOWHERE:
            path = _follow(problem, start, host, rank)
            host[path] = chosen = _choose(problem, path, host, load)
            load[chosen] += float(problem.seconds[path].sum()) / (problem.hosts[chosen].runners * problem.hosts[chosen].speed)
    return simulate(problem, Placement.of(host, place_of(sequence, problem.n_tasks)), "paths")


def _follow(problem: Problem, task: int, host: Floats, rank: Floats) -> list[int]:
    """Return a path from a task through consumers that have no host, which some host can execute as a whole."""
    shape, path = problem.topology, [task]
    kinds = {int(problem.kind[task])} if len(problem.kind) else set()
    while True:
        consumers = {int(c) for dataset in shape.outputs_of(path[-1]) for c in shape.consumers_of(dataset)}
        open_ones = [c for c in consumers if host[c] == NOWHERE and not problem.is_done(c)]
        if kinds:
            open_ones = [c for c in open_ones if int(problem.kind[c]) in kinds]
        if not open_ones:
            return path
        path.append(max(open_ones, key=lambda c: (rank[c], -c)))


def _choose(problem: Problem, path: list[int], host: Floats, load: Floats) -> int:
    """Return the host that would have done a path first."""
    shape, seconds = problem.topology, float(problem.seconds[path].sum())
    lacking: dict[int, float] = {}
    for task in path:
        for dataset in shape.inputs_of(task).tolist():
            where = int(host[shape.producer[dataset]])
            if where != NOWHERE:
                lacking[where] = lacking.get(where, 0.0) + float(problem.nbytes[dataset])
        for dataset in shape.outputs_of(task):
            for where in {int(host[c]) for c in shape.consumers_of(dataset)} - {NOWHERE}:
                lacking[where] = lacking.get(where, 0.0) + float(problem.nbytes[dataset])
    every = sum(lacking.values())

    def finish(h: int) -> float:
        moved = (every - lacking.get(h, 0.0)) / problem.hosts[h].bandwidth
        return float(load[h]) + seconds / problem.hosts[h].speed + moved

    able = problem.allowed[problem.kind[path[0]]] if len(problem.kind) else range(problem.n_hosts)
    return min(able, key=finish)
