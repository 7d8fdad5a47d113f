"""A host is killed under tasks that take a fraction of a second: its work is done again, and each host is told once whom to ask now."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings, Entry, LogFeed
from headrace_schemas import Events, Reroute
from tests.waiting import eventually, wait_for

WAIT = 60.0
SECONDS = 0.2
PRIME = 1_000_003


def number(seed: int, *given: int | np.ndarray) -> int:
    time.sleep(SECONDS)
    return mixed(seed, [int(each if isinstance(each, int) else each[0]) for each in given])


def field(seed: int, *given: int | np.ndarray) -> np.ndarray:
    return np.full(50_000, number(seed, *given))


def mixed(seed: int, given: list[int]) -> int:
    return (31 * seed + sum(given)) % PRIME


def layers(rng: random.Random) -> tuple[hr.Graph, int]:
    """A graph in which tasks take what others made on other hosts, and the value of its sum."""
    graph = hr.Graph("killed")
    before: list[tuple[hr.Node, int]] = []
    for _ in range(4):
        row = []
        for _ in range(6):
            seed, taken = rng.randrange(1000), rng.sample(before, 2) if before else []
            node = graph.add(rng.choice([number, field]), seed, *[node for node, _ in taken])
            row.append((node, mixed(seed, [value for _, value in taken])))
        before = row
    graph.output(graph.add(number, 1, *[node for node, _ in before], name="sum"))
    return graph, mixed(1, [value for _, value in before])


async def read_log(settings: BusSettings) -> list[Entry]:
    """All of the log."""
    entries: list[Entry] = []
    async with await Bus.connect(settings, "test") as bus:
        feed = await LogFeed.open(bus, "headrace.>", entries.extend)
        await asyncio.wait_for(feed.caught_up.wait(), WAIT)
        await feed.close()
    return entries


def words(reroutes: list[Reroute]) -> Counter[tuple[object, ...]]:
    """What hosts were told of datasets: whom to ask, for which attempt."""
    found: Counter[tuple[object, ...]] = Counter()
    for each in reroutes:
        for dataset, source, attempt in zip(each.datasets, each.sources, each.attempts or [0] * len(each.datasets), strict=True):
            found[each.term, each.host, each.epoch, dataset, each.hosts[source], each.addresses[source], attempt] += 1
    return found


@pytest.mark.parametrize("seed", [7, 19])
def test_its_work_is_done_again_and_each_host_is_told_once(seed: int) -> None:
    rng = random.Random(seed)
    graph, right = layers(rng)
    with hr.Cluster.local(hosts=rng.choice([2, 3])) as cluster:
        job = cluster.submit(graph)
        eventually(lambda: job.status().tasks["done"] >= rng.randint(4, 16))
        os.kill(cluster.pids()[rng.choice(cluster.hosts)], signal.SIGKILL)
        assert job.results(WAIT) == {"sum": right}
        messages = [entry.message for entry in asyncio.run(read_log(cluster._settings))]
    assert not [events.failed for events in messages if isinstance(events, Events) and events.failed]
    told = words([message for message in messages if isinstance(message, Reroute)])
    assert not {word: count for word, count in told.items() if count > 1}


def test_a_job_without_any_host_says_so_and_fails_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_NO_HOSTS_GRACE", "2s")
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph("alone")
        graph.add(wait_for, str(tmp_path / "never"), name="waits")
        job = cluster.submit(graph)
        eventually(lambda: job.status().tasks["started"])
        assert job.status().waits == ""
        pid = cluster.pids()["host-0"]
        os.kill(pid, signal.SIGSTOP)
        try:
            assert "no host is at work: start a worker" in eventually(lambda: job.status().waits)
            with pytest.raises(hr.JobFailed, match=r"no host has been at work for 2 s\. Start a worker"):
                job.results(WAIT)
        finally:
            os.kill(pid, signal.SIGCONT)
