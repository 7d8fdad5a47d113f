"""The engines, each with a local cluster of its own and the same four moves: start, warm up, run, stop."""

from __future__ import annotations

import importlib
import importlib.util
import operator
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import headrace as hr
from benchmarks.live.tasks import warm, work
from benchmarks.plans.instances import Instance

Run = Callable[[Instance], float]
"""Runs an instance and returns the seconds from its submission until all tasks have ended. Building the graph does not count."""
Engine = Callable[[int], AbstractContextManager[Run]]
"""Starts a cluster of so many hosts with one runner each."""

WARM_TASKS = 4
"""Per host, so that each worker gets one."""
LIMIT_SECONDS = 120.0
"""A run that takes longer has failed."""


def dask_installed() -> bool:
    """Return whether Dask is installed (extra `peers`)."""
    return importlib.util.find_spec("distributed") is not None


# ---------------------------------------------------------------- Headrace


@contextmanager
def headrace(hosts: int) -> Iterator[Run]:
    """A cluster of Headrace. The scheduler keeps the measured durations of an instance's tasks until the cluster is closed."""
    with hr.Cluster.local(hosts=hosts, runners=1, progress=False) as cluster:
        warming = hr.Graph("warm")
        for number in range(WARM_TASKS * hosts):
            warming.add(warm, number)
        cluster.submit(warming).results(LIMIT_SECONDS)

        def run(instance: Instance) -> float:
            graph = headrace_graph(instance)
            start = time.perf_counter()
            job = cluster.submit(graph)
            job.wait(LIMIT_SECONDS)
            took = time.perf_counter() - start
            job.release()
            return took

        yield run


def headrace_graph(instance: Instance) -> hr.Graph:
    """Return the graph of an instance. A task without outputs returns None, as one output."""
    graph = hr.Graph(instance.name)
    nodes: list[Any] = []
    for task in instance.tasks:
        taken = [nodes[source] if len(instance.tasks[source].outputs) == 1 else nodes[source][output] for source, output in task.inputs]
        nodes.append(graph.add(work, task.seconds, task.outputs, *taken, outputs=max(1, len(task.outputs))))
    return graph


# ---------------------------------------------------------------- Dask


@contextmanager
def dask(hosts: int) -> Iterator[Run]:
    """A cluster of Dask: processes with one thread each, no dashboard."""
    distributed = importlib.import_module("distributed")
    cluster = distributed.LocalCluster(n_workers=hosts, threads_per_worker=1, processes=True, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(hosts)
        client.gather(client.map(warm, range(WARM_TASKS * hosts), pure=False))
        runs = 0

        def run(instance: Instance) -> float:
            nonlocal runs
            runs += 1
            graph, sinks = dask_graph(instance, f"run-{runs}")
            start = time.perf_counter()
            futures = client.get(graph, sinks, sync=False)
            distributed.wait(futures, timeout=LIMIT_SECONDS, return_when="ALL_COMPLETED")
            took = time.perf_counter() - start
            failed = [future for future in futures if future.status != "finished"]
            if failed:
                failed[0].result()
            return took

        yield run


def dask_graph(instance: Instance, prefix: str) -> tuple[Mapping[str, Any], list[str]]:
    """Return the graph of an instance and the keys to wait for. A task that takes one of several outputs gets it from a task that picks it,
    as with Dask's `delayed(nout=n)`. prefix: of keys, which differ from run to run, for Dask remembers values by key."""
    graph: dict[str, Any] = {}
    sinks = dict.fromkeys(f"{prefix}-{index}" for index in range(len(instance.tasks)))
    for index, task in enumerate(instance.tasks):
        taken = []
        for source, output in task.inputs:
            key = f"{prefix}-{source}"
            sinks.pop(key, None)
            if len(instance.tasks[source].outputs) > 1:
                picked = f"{key}-{output}"
                graph[picked] = (operator.getitem, key, output)
                key = picked
            taken.append(key)
        graph[f"{prefix}-{index}"] = (work, task.seconds, list(task.outputs), *taken)
    return graph, list(sinks)


ENGINES: Mapping[str, Engine] = {"headrace": headrace, "dask": dask}
