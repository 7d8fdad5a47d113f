"""Sinks shared out among hosts, with what several of them need computed once and sent, or computed on each host again.

Neighbouring sinks share ancestors, so each host gets a run of them in depth-first order, weighted by their part of all work. Then each
ancestor runs where it is needed. Of one that several hosts need, `broadcast` runs one and sends its datasets; `recompute` runs it on
each, as task duplication does (Ahmad and Kwok 1998, doi:10.1109/71.722221); `cheaper` runs it again where that is quicker than the link.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from headrace.scheduler.planners.depth_first import cut, sinks, walk
from headrace.scheduler.planners.plan import NOWHERE, Placement, Plan
from headrace.scheduler.planners.problem import Floats, Problem
from headrace.scheduler.planners.sequences import place_of
from headrace.scheduler.planners.simulate import simulate


def partition_sinks(problem: Problem, name: str, patience: float) -> Plan:
    """Plan by a partition of the sinks. patience: how many seconds of work are worth a second on the link."""
    sequence = walk(problem)
    place = place_of(sequence, problem.n_tasks)
    ends = sorted(sinks(problem), key=place.__getitem__)
    owner = dict(zip(ends, cut(problem, np.array(ends), _shares(problem)[ends]).tolist(), strict=True)) if ends else {}
    hosts, copies = _hosts(problem, owner, patience)
    return simulate(problem, Placement.of(hosts, place, [(task, host, int(place[task])) for task, host in copies]), name)


broadcast = partial(partition_sinks, name="broadcast", patience=0.0)
recompute = partial(partition_sinks, name="recompute", patience=math.inf)
cheaper = partial(partition_sinks, name="cheaper", patience=1.0)


def _shares(problem: Problem) -> Floats:
    """Return for each task its own seconds and its part of those of its ancestors, which their consumers share equally."""
    shape = problem.topology
    consumers = np.bincount(shape.producer[shape.inputs], minlength=problem.n_tasks)
    share = problem.seconds.copy()
    for task in problem.undone.tolist():
        makers = shape.producer[shape.inputs_of(task)]
        share[task] += float((share[makers] / consumers[makers]).sum())
    return share


def _hosts(problem: Problem, owner: dict[int, int], patience: float) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the host of each task, and copies as (task, host). owner: the host of each sink."""
    hosts, copies = [NOWHERE] * problem.n_tasks, []
    load = [0.0] * problem.n_hosts
    rows: list[tuple[int, ...]] = [()] * problem.n_tasks
    for task in problem.undone.tolist()[::-1]:
        needs = _needs(problem, task, rows)  # bytes that each host takes of it
        able = problem.allowed[problem.kind[task]] if len(problem.kind) else range(problem.n_hosts)
        wanted = [host for host in needs if host in able]
        if not wanted:
            wanted = [owner[task]] if owner.get(task) in able else [able[task % len(able)]]
        first = min(wanted, key=lambda host: load[host] - needs.get(host, 0.0) / problem.hosts[host].bandwidth)
        again = [host for host in sorted(wanted) if host != first and _pays(problem, task, host, needs[host], patience)]
        rows[task], hosts[task] = (first, *again), first
        for host in rows[task]:
            load[host] += float(problem.seconds[task]) / (problem.hosts[host].runners * problem.hosts[host].speed)
        copies += [(task, host) for host in again]
    return hosts, copies


def _needs(problem: Problem, task: int, rows: list[tuple[int, ...]]) -> dict[int, float]:
    """Return the bytes of a task's datasets that each host takes, by host."""
    needs: dict[int, float] = {}
    for dataset in problem.topology.outputs_of(task):
        for host in {host for consumer in problem.topology.consumers_of(dataset).tolist() for host in rows[consumer]}:
            needs[host] = needs.get(host, 0.0) + float(problem.nbytes[dataset])
    return needs


def _pays(problem: Problem, task: int, host: int, nbytes: float, patience: float) -> bool:
    """Return whether to run a task on one more host rather than to send its datasets there."""
    return patience > 0 and problem.seconds[task] / problem.hosts[host].speed <= patience * (
        problem.latency + nbytes / problem.hosts[host].bandwidth
    )
