"""Measures peers on a graph, in turns, and checks that they agree with serial Python."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.graphs import Case
from benchmarks.peers import OURS, Layout
from benchmarks.process import PeerFailed, PeerProcess

TOLERANCE = 1e-9  # relative; all peers do the same arithmetic in the same order


class Patience(NamedTuple):
    """How much is measured. repeat: turns that count. timeout: seconds of one run, after which the peer is out. budget: seconds of
    a graph after which a peer takes no further turn, once one has counted: a slow peer needs no median to be told from a fast one."""

    repeat: int = 5
    timeout: float = 120.0
    budget: float = 60.0


SETTLE_SECONDS = 0.1
"""Pause before each run: engines give memory back a little after a result is out, and a peak is to be that of one run."""


@dataclass
class Row:
    """What one peer did with one graph.

    walls: seconds of each run that counted, or of each round trip. cpu: mean CPU seconds of a run (of all round trips of a turn) per
    role, and in "total". peak: bytes at most since the peer's start, None where that cannot be known. started: seconds that its
    cluster took to start. failure: why it is out, in a few words; `log`, the end of what it printed.
    """

    graph: str
    label: str
    peer: str
    n: int
    tasks: int
    walls: list[float] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    peak: int | None = None
    started: float | None = None
    failure: str = ""
    log: str = ""

    @property
    def wall(self) -> float | None:
        """The median, in seconds."""
        return median(self.walls) if self.walls else None

    @property
    def p99(self) -> float | None:
        """The 99th percentile, in seconds; for round trips."""
        return float(np.percentile(self.walls, 99)) if self.walls else None

    @property
    def speed(self) -> float | None:
        """Tasks per second at the median."""
        return self.tasks / self.wall if self.wall else None


class WrongResult(Exception):
    """A peer's values are not those of serial Python."""


class Runs(Protocol):
    """What is needed of a `PeerProcess` here."""

    started: float

    def run(self, case: Case, timeout: float) -> dict[str, Any]: ...
    def peak(self) -> int | None: ...
    def close(self) -> None: ...


def measure(case: Case, peers: Sequence[str], layout: Layout, patience: Patience) -> list[Row]:
    """The rows of one graph, in the order of the peers. Raises WrongResult; a peer that fails otherwise is out, and its row says why."""
    tasks = 1 if case.graph == "latency" else len(case.build().calls)
    rows = [Row(case.graph, case.label, peer, case.n, tasks) for peer in peers]
    expected = expected_values(case, patience)
    if case.limit:
        measure_limited(case, rows, expected, layout._replace(memory=case.limit), patience)
    else:
        measure_in_turns(case, rows, expected, layout, patience)
    return rows


def expected_values(case: Case, patience: Patience) -> list[Any]:
    """What serial Python returns; in a process of its own, for it takes much memory."""
    if case.graph == "latency":
        return list(range(case.n))
    serial = PeerProcess("serial", Layout(1, 1))
    try:
        return list(serial.run(case, patience.timeout)["values"])
    finally:
        serial.close()


def measure_in_turns(case: Case, rows: Sequence[Row], expected: list[Any], layout: Layout, patience: Patience) -> None:
    """All peers stand side by side and take turns, so that a noisy minute meets all of them; a first turn warms up and does not count."""
    with ExitStack() as stack:
        standing = []
        for row in rows:
            peer = start(row, layout)
            if peer is not None:
                stack.callback(peer.close)
                standing.append((row, peer))
        take_turns(case, standing, expected, patience)


def measure_limited(case: Case, rows: Sequence[Row], expected: list[Any], layout: Layout, patience: Patience) -> None:
    """One after the other, once, cold: what spills is slow, and memory is to be had for one at a time. Serial Python has no limit."""
    for row in rows:
        peer = start(row, layout if row.peer != "serial" else layout._replace(memory=0))
        if peer is not None:
            try:
                take_turn(case, row, peer, expected, patience.timeout)
                row.peak = peer.peak()
            finally:
                peer.close()


def start(row: Row, layout: Layout) -> PeerProcess | None:
    """The row's peer, ready; None if it does not start, which the row says."""
    try:
        peer = PeerProcess(row.peer, layout)
    except PeerFailed as failed:
        row.failure, row.log = f"no start: {failed.reason}", failed.log
        return None
    row.started = peer.started
    return peer


def take_turns(case: Case, standing: Sequence[tuple[Row, Runs]], expected: list[Any], patience: Patience) -> None:
    """Warm up, and then turn by turn until each has had enough."""
    warm_up = case.warm_up()
    for row, peer in standing:
        warming = Row(row.graph, row.label, row.peer, row.n, row.tasks)
        take_turn(warm_up, warming, peer, expected if warm_up == case else None, patience.timeout)
        row.failure, row.log = warming.failure, warming.log
    for _ in range(patience.repeat):
        for row, peer in standing:
            if not row.failure and sum(row.walls) < patience.budget:
                time.sleep(SETTLE_SECONDS)
                take_turn(case, row, peer, expected, patience.timeout)
    for row, peer in standing:
        row.peak = peer.peak()


def take_turn(case: Case, row: Row, peer: Runs, expected: list[Any] | None, timeout: float) -> None:
    """One run, into its row. Values are checked where it is known what they should be. Raises WrongResult."""
    try:
        measured = peer.run(case, timeout)
    except PeerFailed as failed:
        row.failure, row.log = failed.reason, failed.log
        return
    if expected is not None:
        check(row.label, row.peer, measured["values"], expected)
    turns = len(row.walls) // len(measured.get("walls", [0]))
    row.walls += measured["walls"] if "walls" in measured else [measured["wall"]]
    for role, seconds in measured["cpu"].items():
        row.cpu[role] = fmean([row.cpu.get(role, 0.0)] * turns + [seconds])


def check(graph: str, peer: str, values: list[Any], expected: list[Any]) -> None:
    """Raise WrongResult, naming the first difference, unless the values are the expected ones."""
    if len(values) != len(expected):
        raise WrongResult(f"{peer} on {graph}: {len(values)} values where serial Python has {len(expected)}")
    for position, (value, wanted) in enumerate(zip(values, expected, strict=True)):
        if value != wanted and not np.isclose(value, wanted, rtol=TOLERANCE, atol=0):
            raise WrongResult(f"{peer} on {graph}: output {position} is {value!r} where serial Python has {wanted!r}")


def best_peer(row: Row, rows: Sequence[Row]) -> Row | None:
    """The quickest of the others, neither Headrace nor serial Python, on the same graph."""
    others = [other for other in rows if other.label == row.label and other.peer not in OURS and other.wall]
    return min(others, key=lambda other: other.wall or 0.0, default=None)
