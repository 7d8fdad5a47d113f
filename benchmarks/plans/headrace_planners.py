"""Headrace's planners, as the benchmark calls them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cache, partial

import numpy as np

from benchmarks.plans.clusters import Cluster
from benchmarks.plans.emitted import Row
from benchmarks.plans.instances import Input, Instance, Task
from benchmarks.plans.scoring import Made, Planner
from headrace.graph.topology import Ids, Offsets, Topology, offsets
from headrace.scheduler.planners.compiled import COMPILED
from headrace.scheduler.planners.plan import Plan
from headrace.scheduler.planners.problem import Host, Problem
from headrace.scheduler.planners.registry import PLANNERS

SMALL = Instance("small", (Task("a", 1.0, (1,)), Task("b", 2.0, (), (Input(0, 0),)), Task("c", 3.0, (), (Input(0, 0),))))


def problem_of(instance: Instance, cluster: Cluster) -> Problem:
    """Return an instance on a cluster as Headrace's planners take it. Outputs that no task takes are requested."""
    topology = topology_of(instance)
    return Problem(
        topology=topology,
        hosts=tuple(Host(f"host-{number}", cluster.runners, bandwidth=cluster.bandwidth) for number in range(cluster.hosts)),
        seconds=np.array([task.seconds for task in instance.tasks]),
        nbytes=np.array([size for task in instance.tasks for size in task.outputs], dtype=np.float64),
        memory=np.zeros(topology.n_tasks),
        latency=cluster.latency,
    )


def topology_of(instance: Instance) -> Topology:
    """Return the shape of an instance. Dataset ids count the outputs of all tasks in order."""
    n_tasks = len(instance.tasks)
    n_outputs = _counts(len(task.outputs) for task in instance.tasks)
    first_output = offsets(n_outputs)
    inputs = np.array([first_output[source] + output for task in instance.tasks for source, output in task.inputs], dtype=np.int32)
    n_datasets = int(first_output[-1])
    return Topology(
        n_tasks=n_tasks,
        n_datasets=n_datasets,
        function=np.zeros(n_tasks, dtype=np.int32),
        first_output=first_output,
        input_start=offsets(_counts(len(task.inputs) for task in instance.tasks)),
        inputs=inputs,
        producer=np.repeat(np.arange(n_tasks, dtype=np.int32), n_outputs),
        is_output=np.bincount(inputs, minlength=n_datasets) == 0,
        is_generator=np.zeros(n_tasks, dtype=np.bool_),
    )


def _counts(counts: Iterable[int]) -> Offsets:
    return np.array(list(counts), dtype=np.int64)


def rows_of(plan: Plan) -> list[Row]:
    """Return the placements of a plan, copies at the end."""
    columns: Sequence[Ids] = (plan.placement.task, plan.placement.host, plan.runner)
    return [Row(*map(int, ids), float(start), float(end)) for *ids, start, end in zip(*columns, plan.start, plan.end, strict=True)]


def planners() -> dict[str, Planner]:
    """Return Headrace's planners by name, the portfolio among them."""
    return {name: partial(made, name) for name in PLANNERS}


def made(name: str, instance: Instance, cluster: Cluster) -> Made:
    """Return the placements of a planner. Its time does not include the making of the problem's columns, nor that of machine code."""
    _compile(name)
    problem = problem_of(instance, cluster)
    start = time.perf_counter()
    plan = PLANNERS[name](problem)
    return Made(rows_of(plan), time.perf_counter() - start)


@cache
def _compile(name: str) -> None:
    """Let a planner plan a small graph, so that numba, where it is installed, compiles what it needs."""
    if COMPILED:
        PLANNERS[name](problem_of(SMALL, Cluster(2, 1, 1.0)))
