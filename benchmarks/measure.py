"""Times peers on a graph, in turns, and checks that they agree with serial Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.graphs import TaskList, noop
from benchmarks.peers import Peer

TOLERANCE = 1e-9  # relative; all peers do the same arithmetic in the same order


class Timing(NamedTuple):
    """What one peer took for one graph. `tasks` is what one run executes, `walls` the seconds of each run, without the warm-up."""

    graph: str
    peer: str
    n: int
    tasks: int
    walls: list[float]

    @property
    def wall(self) -> float:
        """The median of the runs, in seconds."""
        return median(self.walls)

    @property
    def speed(self) -> float:
        """Tasks per second at the median."""
        return self.tasks / self.wall


class WrongResult(Exception):
    """A peer's values are not those of serial Python."""


def time_graph(name: str, n: int, graph: TaskList, peers: Sequence[Peer], repeat: int) -> list[Timing]:
    """Run the graph `repeat` times on each peer, in turns so that a noisy minute meets all of them, after one run each to warm up."""
    expected = peers[0].run(graph)
    walls = alternate(peers, repeat, lambda peer: time_run(name, graph, peer, expected))
    return [Timing(name, peer.name, n, len(graph.calls), walls[peer.name]) for peer in peers]


def time_run(name: str, graph: TaskList, peer: Peer, expected: list[Any]) -> list[float]:
    """One run: seconds from the submission of the ready list to all values asked for."""
    start = time.perf_counter()
    values = peer.run(graph)
    wall = time.perf_counter() - start
    check(name, peer.name, values, expected)
    return [wall]


def time_latency(trips: int, peers: Sequence[Peer], repeat: int) -> list[Timing]:
    """Single-task round trips, one after another: `walls` holds each trip, so that percentiles can be taken."""
    walls = alternate(peers, repeat, lambda peer: [time_trip(peer, value) for value in range(trips)])
    return [Timing("latency", peer.name, trips, 1, walls[peer.name]) for peer in peers]


def time_trip(peer: Peer, value: int) -> float:
    """One round trip, in seconds."""
    start = time.perf_counter()
    answer = peer.round_trip(noop, value)
    wall = time.perf_counter() - start
    check("latency", peer.name, [answer], [value])
    return wall


def alternate(peers: Sequence[Peer], repeat: int, run: Callable[[Peer], list[float]]) -> Mapping[str, list[float]]:
    """What `run` measured for each peer, taking turns; a first turn is thrown away."""
    walls: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(repeat + 1):
        for peer in peers:
            measured = run(peer)
            if turn > 0:
                walls[peer.name] += measured
    return walls


def check(graph: str, peer: str, values: list[Any], expected: list[Any]) -> None:
    """Raise WrongResult, naming the first difference, unless the values are the expected ones."""
    if len(values) != len(expected):
        raise WrongResult(f"{peer} on {graph}: {len(values)} values where serial Python has {len(expected)}")
    for position, (value, wanted) in enumerate(zip(values, expected, strict=True)):
        if value != wanted and not np.isclose(value, wanted, rtol=TOLERANCE, atol=0):
            raise WrongResult(f"{peer} on {graph}: output {position} is {value!r} where serial Python has {wanted!r}")
