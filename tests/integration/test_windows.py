"""Inside a window hosts need no central service, also where a task takes inputs from both."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import headrace as hr
from headrace.bus import Bus, BusSettings, Entry, LogFeed
from headrace_schemas import Assign, Events, subjects
from tests.waiting import wait_for

WAIT = 60.0


def gate(path: str, number: int) -> int:
    """Holds everything behind it back until the file is there."""
    wait_for(path)
    return number


def add(*numbers: int) -> int:
    return sum(numbers)


def crossing_graph(path: Path, width: int = 8, depth: int = 12) -> tuple[hr.Graph, list[int]]:
    """Layers in which every task takes three results of the layer before, near and far; and what must come out."""
    graph = hr.Graph("crossing")
    nodes = [graph.add(gate, str(path), k) for k in range(width)]
    values = list(range(width))
    draw = random.Random(1)
    for _ in range(depth):
        rows = [draw.sample(range(width), 3) for _ in range(width)]
        nodes = [graph.add(add, *[nodes[k] for k in row]) for row in rows]
        values = [sum(values[k] for k in row) for row in rows]
    return graph, values


def test_a_released_window_runs_to_its_end_without_controller_and_scheduler(
    tmp_path: Path, runner: asyncio.Runner, until: Callable[..., object]
) -> None:
    graph, values = crossing_graph(tmp_path / "go")
    with hr.Cluster.local(hosts=2) as cluster:
        job = cluster.submit(graph)
        pids = [cluster.pids()[name] for name in ("controller", "scheduler")]

        async def run_without_them() -> tuple[list[Assign], list[Events]]:
            bus = await Bus.connect(BusSettings(url=cluster.url, token=cluster.token), "test")
            assigned: list[Assign] = []
            events: list[Events] = []

            def on_entries(entries: list[Entry]) -> None:
                assigned.extend(entry.message for entry in entries if isinstance(entry.message, Assign))
                events.extend(entry.message for entry in entries if isinstance(entry.message, Events))

            feed = await LogFeed.open(bus, subjects.for_job(job.id), on_entries)
            n_chains = await _released(until, assigned, job.status().n_tasks)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            (tmp_path / "go").touch()
            await until(lambda: sum(len(batch.chains) for batch in events) == n_chains, WAIT)
            await feed.close()
            await bus.close()
            return assigned, events

        try:
            assigned, events = runner.run(run_without_them())
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert list(job.results(WAIT).values()) == values
        hosts = {message.host for message in assigned}
        assert hosts == {"host-0", "host-1"}
        foreign = [source for message in assigned for source in message.sources if message.hosts[source] != message.host]
        assert len(foreign) > 10, "the graph was to cross between the hosts"
        assert not any(batch.failed for batch in events)


async def _released(until: Callable[..., object], assigned: list[Assign], n_tasks: int) -> int:
    await until(lambda: sum(len(message.tasks) for message in assigned) == n_tasks, WAIT)  # type: ignore[misc]
    return sum(len(message.chains) for message in assigned)
