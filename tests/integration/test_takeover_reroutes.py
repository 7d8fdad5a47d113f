"""A scheduler that takes over says once more where datasets are, and no flood follows from that."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

import headrace as hr
from headrace.bus import Bus, BusSettings, Entry, LogFeed, until_caught_up
from headrace.errors import NatsUnreachable
from headrace.scheduler.settings import Settings
from headrace_schemas import Reroute, subjects
from tests.waiting import eventually, wait_for

WAIT = 120.0
JOBS, WIDTH = 10, 6
SAY_AGAIN = Settings().say_again_seconds


def make(gate: str, number: int) -> np.ndarray:
    wait_for(gate)
    return np.full(20_000, number)


def add(*arrays: np.ndarray) -> int:
    return sum(int(array[0]) for array in arrays)


def graph_of(gate: str, seed: int) -> tuple[hr.Graph, list[int]]:
    """Tasks that wait for the gate, and others that take from three of them each; and what these return."""
    graph, draw = hr.Graph(f"job-{seed}"), random.Random(seed)
    made = [graph.add(make, gate, number) for number in range(WIDTH)]
    taken = [draw.sample(range(WIDTH), 3) for _ in range(WIDTH)]
    graph.output([graph.add(add, *[made[number] for number in row]) for row in taken])
    return graph, [sum(row) for row in taken]


@contextmanager
def standby(settings: BusSettings, log: Path) -> Iterator[None]:
    """A second scheduler, which waits for the lease."""
    with log.open("wb") as file:
        command = [sys.executable, "-m", "headrace", "scheduler"]
        process = subprocess.Popen(command, env=os.environ | settings.to_env(), stdout=file, stderr=file)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def term(runner: asyncio.Runner, bus: Bus) -> int:
    """In which term a scheduler leads that answers; 0 if none does."""
    try:
        status = msgspec.json.decode(runner.run(bus.request("headrace.service.headrace-scheduler.status")))
    except NatsUnreachable:
        return 0
    return int(status.get("term", 0)) if status["leading"] else 0


async def said(bus: Bus) -> dict[tuple[object, ...], list[float]]:
    """When each host was told whom to ask for an attempt at a dataset, in seconds since 1970."""
    entries: list[Entry] = []
    feed = await LogFeed.open(bus, subjects.families("assign"), entries.extend)
    await until_caught_up(feed)
    await feed.close()
    times: dict[tuple[object, ...], list[float]] = {}
    for entry in entries:
        message = entry.message
        if isinstance(message, Reroute):
            attempts = message.attempts or [0] * len(message.datasets)
            for pair in zip(message.datasets, attempts, strict=True):
                times.setdefault((message.job, message.host, *pair), []).append(entry.time)
    return times


def test_each_reader_is_told_of_a_dataset_once_when_another_scheduler_takes_over(runner: asyncio.Runner, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with hr.Cluster.local(hosts=3, runners=2, progress=False) as cluster:
        settings = BusSettings(url=cluster.url, token=cluster.token)
        bus = runner.run(Bus.connect(settings, "test"))
        try:
            graphs = [graph_of(str(gate), seed) for seed in range(JOBS)]
            jobs = [cluster.submit(graph) for graph, _ in graphs]
            eventually(lambda: sum(job.status().tasks["started"] for job in jobs) >= 6)
            before = term(runner, bus)
            with standby(settings, tmp_path / "standby.log"):
                os.kill(cluster.pids()["scheduler"], signal.SIGKILL)
                eventually(lambda: term(runner, bus) > before)
                gate.touch()
                for job, (_, expected) in zip(jobs, graphs, strict=True):
                    assert list(job.results(WAIT).values()) == expected
                words = runner.run(said(bus))
        finally:
            runner.run(bus.close())
    assert words, "it says what the one before may not have said"
    for word, times in words.items():  # one that may have been lost is repeated; the log has the time at which it was stored
        assert all(later - earlier >= SAY_AGAIN - 0.5 for earlier, later in pairwise(times)), (word, times)
