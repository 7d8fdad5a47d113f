"""`python -m benchmarks` runs every graph on a real cluster, and its values are those of serial Python (or it would fail)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.cgroups import Cgroup
from benchmarks.graphs import GRAPHS, Case
from benchmarks.peers import PEERS, Layout
from benchmarks.process import PeerFailed, PeerProcess

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 60.0
MB = 1_000_000


def test_headrace_agrees_with_serial_python_on_every_graph(tmp_path: Path) -> None:
    path, page = tmp_path / "timings.json", tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmarks", "--small", "--json", str(path), "--markdown", str(page)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    timings = json.loads(path.read_text())["timings"]
    assert [(timing["graph"], timing["peer"]) for timing in timings] == [
        (name, peer) for name in [*GRAPHS, "latency"] for peer in ("serial", "headrace")
    ]
    assert all(timing["wall"] > 0 and timing["cpu"]["total"] > 0 for timing in timings)
    assert len(page.read_text().splitlines()) == 2 + len(timings)


@pytest.fixture(params=[name for name in PEERS if name not in ("serial", "headrace")])
def peer(request: pytest.FixtureRequest) -> Iterator[PeerProcess]:
    """Another engine, ready."""
    if not PEERS[request.param].installed:
        pytest.skip(f"{request.param} is not installed: the extra `peers` has it")
    process = PeerProcess(request.param, Layout(1, 2))
    yield process
    process.close()


def test_another_engine_does_what_serial_python_does(peer: PeerProcess) -> None:
    assert peer.run(Case("layers", (3,)), TIMEOUT)["values"] == [3**19] * 3
    measured = peer.run(Case("latency", (2,)), TIMEOUT)
    assert measured["values"] == [0, 1]
    assert len(measured["walls"]) == 2


def test_headrace_says_what_its_processes_are_there_for() -> None:
    process = PeerProcess("headrace", Layout(1, 2))
    try:
        cpu = process.run(Case("flat", (500,)), TIMEOUT)["cpu"]
    finally:
        process.close()
    assert {"client", "controller", "scheduler", "nats-server", "agent", "runner", "total"} <= cpu.keys()
    assert all(cpu[role] > 0 for role in ("client", "controller", "agent", "runner"))


def test_a_peer_that_takes_too_long_is_ended_with_all_that_it_started() -> None:
    process = PeerProcess("headrace", Layout(1, 1))
    started = psutil.Process(process._process.pid).children(recursive=True)
    assert len(started) > 5
    with pytest.raises(PeerFailed, match="> 0 s"):
        process.run(Case("flat", (50_000,)), 0.05)
    start = time.monotonic()
    process.close()
    assert time.monotonic() - start < 10
    assert not psutil.wait_procs(started, timeout=5)[1]
    assert not process._folder.exists()


def test_a_failure_is_told_with_the_end_of_the_log() -> None:
    process = PeerProcess("serial", Layout(1, 1))
    try:
        with pytest.raises(PeerFailed, match="KeyError") as failed:
            process.run(Case("no such graph", (1,)), TIMEOUT)
        assert "Traceback" in failed.value.log
    finally:
        process.close()


def test_memory_is_a_high_water_mark_and_can_be_limited() -> None:
    group = Cgroup.make()
    if group is None:
        pytest.skip("no control group can be made here: it takes root")
    group.remove()
    process = PeerProcess("serial", Layout(1, 1))
    try:
        process.run(Case("fanout", (1, 12_500_000)), TIMEOUT)  # 100 MB
        assert 100 * MB < (process.peak() or 0) < 160 * MB
    finally:
        process.close()
    limited = PeerProcess("serial", Layout(1, 1, memory=60 * MB))
    try:
        with pytest.raises(PeerFailed, match="out of memory"):
            limited.run(Case("fanout", (1, 12_500_000)), TIMEOUT)
    finally:
        limited.close()
