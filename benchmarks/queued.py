"""The memory that tasks take while they wait: of all services of a Headrace cluster together, per task."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

import headrace as hr
from benchmarks.cpu import cpu_seconds
from benchmarks.peers import Layout
from benchmarks.report import Figure

QUEUED = 100_000
"""Tasks: enough for a kilobyte of each to stand out."""
CALM_SHARE = 0.05
"""Of one core: services that take less have done with a submission."""
CALM_LOOK = 0.5
"""Seconds between two looks at that."""
TIMEOUT = 60.0


def wait_for(gate: str, started: str) -> int:
    """A task that says that it runs, and runs until a file exists."""
    Path(started).touch()
    while not os.path.exists(gate):
        time.sleep(0.01)
    return 0


def later(after: int, value: int) -> int:
    """A task that has to wait for another one, and returns a value of its own."""
    del after
    return value


def queued_memory(layout: Layout, count: int = QUEUED) -> Figure:
    """By how much the services grow when a graph is submitted whose tasks all wait for its first."""
    with hr.Cluster.local(layout.hosts, layout.runners, progress=False) as cluster:
        services = [pid for name, pid in cluster.pids().items() if name != "supervisor"]
        queued_bytes(cluster, 10, services)  # what is allocated only once
        before = private_bytes(services)
        grown = queued_bytes(cluster, count, services) - before
    return Figure("memory per queued task", "headrace", grown / count, "bytes", f"{count:,} tasks, all services")


def queued_bytes(cluster: hr.Cluster, count: int, services: Iterable[int]) -> int:
    """The services' memory while so many tasks wait. Returns when the tasks are done. Raises TimeoutError if they never start."""
    with tempfile.TemporaryDirectory() as folder:
        gate, started = Path(folder, "gate"), Path(folder, "started")
        graph = hr.Graph("queued")
        first = graph.add(wait_for, str(gate), str(started))
        for value in range(count):
            graph.add(later, first, value)
        job = cluster.submit(graph)
        try:
            _wait_until_calm(started, services)
            return private_bytes(services)
        finally:
            gate.touch()
            job.results(TIMEOUT)


def _wait_until_calm(started: Path, services: Iterable[int]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not started.exists() or _busy_share(services) > CALM_SHARE:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the services were still busy with a submission after {TIMEOUT:.0f} s")


def _busy_share(services: Iterable[int]) -> float:
    before = sum(map(cpu_seconds, services))
    time.sleep(CALM_LOOK)
    return (sum(map(cpu_seconds, services)) - before) / CALM_LOOK


def private_bytes(pids: Iterable[int]) -> int:
    """Memory that these processes and those below them share with nobody."""
    processes = [psutil.Process(pid) for pid in pids]
    family = {process.pid: process for parent in processes for process in (parent, *parent.children(recursive=True))}
    return sum(process.memory_full_info().uss for process in family.values())
