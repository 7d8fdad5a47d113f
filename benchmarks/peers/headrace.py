"""Headrace on a local cluster of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil

import headrace as hr
from benchmarks.graphs import Array, Ref, TaskList, count_up
from benchmarks.peers import Layout

STORE_SHARE = 0.4
"""Of a memory limit: for the stores of all hosts together. The rest is for what tasks hold on their own heaps, and for the services."""


CHUNK = 1 << 15
"""Values: 256 KiB, which stay in a core's cache between being made and being stored."""


def count_up_in_place(size: int) -> Array:
    """`count_up`, made in the store, so that half a gigabyte is there once and not twice."""
    values = hr.empty(size)
    for start in range(0, size, CHUNK):
        stop = min(start + CHUNK, size)
        values[start:stop] = np.arange(start, stop)
    return values


IN_PLACE: Mapping[Callable[..., Any], Callable[..., Any]] = {count_up: count_up_in_place}
"""What a user of Headrace would write otherwise, with the same values."""


class Headrace:
    """Builds a graph through the public interface, submits it, and waits for the values."""

    def __init__(self, cluster: hr.Cluster) -> None:
        self._cluster = cluster

    def run(self, graph: TaskList) -> list[Any]:
        """See `Peer.run`."""
        built, names = build(graph)
        results = self._cluster.submit(built).results()
        return [results[name] for name in names]

    def round_trip(self, function: Callable[..., Any], *args: Any) -> Any:
        """See `Peer.round_trip`."""
        graph = hr.Graph("latency")
        node = graph.add(function, *args)
        return self._cluster.submit(graph).results()[node.name]

    def roles(self) -> Mapping[int, str]:
        """See `Peer.roles`: an agent's child is the fork server of its runners, whose children they are."""
        roles = {os.getpid(): "client"}
        for name, pid in self._cluster.pids().items():
            roles[pid] = "agent" if name in self._cluster.hosts else name
            if roles[pid] == "agent":
                forker = psutil.Process(pid).children()
                roles.update((process.pid, "forker") for process in forker)
                roles.update((runner.pid, "runner") for process in forker for runner in process.children())
        return roles


def build(graph: TaskList) -> tuple[hr.Graph, list[str]]:
    """The task list as a graph, and the names of its outputs in the order they were asked for."""
    built = hr.Graph("benchmark")
    nodes: list[Any] = []
    for function, args in graph.calls:
        nodes.append(built.add(IN_PLACE.get(function, function), *[nodes[arg.call] if type(arg) is Ref else arg for arg in args]))
    asked = [nodes[index] for index in graph.outputs]
    for node in asked:
        built.output(node)
    return built, [node.name for node in asked]


@contextmanager
def open_peer(layout: Layout) -> Iterator[Headrace]:
    """A local cluster with nothing else on it."""
    capacity = int(STORE_SHARE * layout.memory) // layout.hosts if layout.memory else None
    with hr.Cluster.local(hosts=layout.hosts, runners=layout.runners, capacity=capacity, progress=False) as cluster:
        yield Headrace(cluster)
