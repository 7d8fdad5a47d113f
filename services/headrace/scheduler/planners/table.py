"""A problem as columns that compiled code reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.graph.resources import Resources
from headrace.graph.topology import Flags, Ids
from headrace.scheduler.planners.compiled import Column, float_column, int_column
from headrace.scheduler.planners.problem import Problem


class Table(NamedTuple):
    """The columns of a problem; rows of a table within the table are `column[start[i]:start[i + 1]]`.

    first_output (tasks + 1): task t makes the datasets from first_output[t] to first_output[t + 1] - 1.
    input_start (tasks + 1), inputs: the datasets that each task takes.
    producer (datasets): the task that makes each.
    consumer_start (datasets + 1), consumers: the tasks that take each, done ones left out.
    wanted (datasets): 1 if it was asked for. yields (tasks): 1 for generators. done (tasks): 1 for those that are not to be run.
    seconds, memory (tasks), nbytes (datasets): as in the problem. latency: in seconds.
    runners, speed, bandwidth, capacity (hosts): capacity is the memory in bytes.
    held_start (datasets + 1), held: the hosts that hold each dataset at the start.
    kind (tasks), need (kinds x resources), have (hosts x resources): what tasks need and hosts have. n_resources: 0 if tasks need nothing.
    able (kinds x hosts): 1 where a host has what a kind of tasks needs.
    """

    n_tasks: int
    n_datasets: int
    n_hosts: int
    n_resources: int
    first_output: Column
    input_start: Column
    inputs: Column
    producer: Column
    consumer_start: Column
    consumers: Column
    wanted: Column
    yields: Column
    done: Column
    seconds: Column
    memory: Column
    nbytes: Column
    latency: float
    runners: Column
    speed: Column
    bandwidth: Column
    capacity: Column
    held_start: Column
    held: Column
    kind: Column
    need: Column
    have: Column
    able: Column


def table_of(problem: Problem) -> Table:
    """Return the columns of a problem."""
    shape, hosts = problem.topology, problem.hosts
    names = sorted({name for need in problem.needs for name in need})
    done = problem.done if len(problem.done) else np.zeros(shape.n_tasks, dtype=np.bool_)
    start, consumers = _lists(shape.inputs, np.repeat(np.arange(shape.n_tasks), shape.n_inputs), shape.n_datasets, ~done)
    held_start, held = _lists(problem.held_dataset, problem.held_host, shape.n_datasets)
    return Table(
        n_tasks=shape.n_tasks,
        n_datasets=shape.n_datasets,
        n_hosts=len(hosts),
        n_resources=len(names) if len(problem.kind) else 0,
        first_output=int_column(shape.first_output),
        input_start=int_column(shape.input_start),
        inputs=int_column(shape.inputs),
        producer=int_column(shape.producer),
        consumer_start=start,
        consumers=consumers,
        wanted=int_column(shape.is_output),
        yields=int_column(shape.is_generator),
        done=int_column(done),
        seconds=float_column(problem.seconds),
        memory=float_column(problem.memory),
        nbytes=float_column(problem.nbytes),
        latency=float(problem.latency),
        runners=int_column([host.runners for host in hosts]),
        speed=float_column([host.speed for host in hosts]),
        bandwidth=float_column([host.bandwidth for host in hosts]),
        capacity=float_column([host.memory for host in hosts]),
        held_start=held_start,
        held=held,
        kind=int_column(problem.kind if len(problem.kind) else np.zeros(shape.n_tasks)),
        need=_amounts(problem.needs or ({},), names),
        have=_amounts([host.resources for host in hosts], names),
        able=int_column([host in hosts_of for hosts_of in problem.allowed for host in range(len(hosts))]),
    )


def _lists(keys: Ids, values: npt.NDArray[np.integer], n: int, keep: Flags | None = None) -> tuple[Column, Column]:
    """Return the values by key: where each list starts, and the lists. keep: per value, whether to take it."""
    if keep is not None:
        keys, values = keys[keep[values]], values[keep[values]]
    start = np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=n))))
    return int_column(start), int_column(values[np.argsort(keys, kind="stable")])


def _amounts(rows: Iterable[Resources], names: list[str]) -> Column:
    """Return the amounts of resources, row after row."""
    return float_column([row.get(name, 0.0) for row in rows for name in names])
