"""Headrace on a local cluster of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import headrace as hr
from benchmarks.graphs import Ref, TaskList


class Headrace:
    """Builds a graph through the public interface, submits it, and waits for the values."""

    name = "headrace"

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


def build(graph: TaskList) -> tuple[hr.Graph, list[str]]:
    """The task list as a graph, and the names of its outputs in the order they were asked for."""
    built = hr.Graph("benchmark")
    nodes: list[Any] = []
    for function, args in graph.calls:
        nodes.append(built.add(function, *[nodes[arg.call] if type(arg) is Ref else arg for arg in args]))
    asked = [nodes[index] for index in graph.outputs]
    for node in asked:
        built.output(node)
    return built, [node.name for node in asked]


@contextmanager
def open_peer(hosts: int, runners: int) -> Iterator[Headrace]:
    """A local cluster with nothing else on it."""
    with hr.Cluster.local(hosts=hosts, runners=runners) as cluster:
        yield Headrace(cluster)
