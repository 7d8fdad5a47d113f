"""Dask on a local cluster of single-threaded worker processes. `PEERS` has what is configured differently."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.graphs import Ref, TaskList
from benchmarks.peers import Layout

WORKERS_SHARE = 0.8
"""Of a memory limit: for all workers together. The rest is for the client and the scheduler, which share a process."""


class Dask:
    """Hands whole graphs to `Client.get`, its quickest way in."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._runs = 0

    def run(self, graph: TaskList) -> list[Any]:
        """See `Peer.run`. Keys differ from run to run, for Dask remembers the values of those that it has seen."""
        self._runs += 1
        names = [f"{call.function.__name__}-{self._runs}-{index}" for index, call in enumerate(graph.calls)]
        tasks = {
            name: (call.function, *[names[arg.call] if type(arg) is Ref else arg for arg in call.args])
            for name, call in zip(names, graph.calls, strict=True)
        }
        return list(self._client.get(tasks, [names[index] for index in graph.outputs]))

    def round_trip(self, function: Callable[..., Any], *args: Any) -> Any:
        """See `Peer.round_trip`."""
        return self._client.submit(function, *args, pure=False).result()

    def roles(self) -> Mapping[int, str]:
        """See `Peer.roles`."""
        children = psutil.Process().children(recursive=True)
        return {os.getpid(): "client and scheduler"} | {child.pid: "worker" for child in children}


@contextmanager
def open_peer(layout: Layout) -> Iterator[Dask]:
    """A `LocalCluster` without a dashboard."""
    distributed = importlib.import_module("distributed")
    memory = int(WORKERS_SHARE * layout.memory) // layout.workers if layout.memory else "auto"
    cluster = distributed.LocalCluster(
        n_workers=layout.workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=memory
    )
    with cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(layout.workers)
        yield Dask(client)
