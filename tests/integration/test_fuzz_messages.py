"""Whatever is written where services read, a cluster goes on serving an honest job, and comes up again on the same log.

Every message with every field at its edges, on its own subject and on those of others, into the log, the requests, the buckets, the object
store and the endpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import headrace as hr
from headrace.bus import Bus, EmbeddedServer
from headrace.errors import HeadraceError
from headrace_schemas import Release, subjects
from headrace_schemas.examples import EXAMPLES, JOB
from headrace_schemas.fetching import FETCH_SUBJECT, Fetch
from tests import edges
from tests.fuzzing import write_all
from tests.waiting import eventually

WAIT = 60.0
HOSTS = ("host-0", "host-1")
SERVICES = (["controller"], ["scheduler"], ["publisher"], *(["worker", "--host", name, "--runners", "1"] for name in HOSTS))
CENTRAL = ("controller", "scheduler", "publisher")


@dataclass
class Site:
    """A cluster of processes on one server."""

    server: EmbeddedServer
    log: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **self.server.settings.to_env()}
        with self.log.open("ab") as log:
            for command in SERVICES:
                python = [sys.executable, "-m", "headrace.cli", *command]
                self.processes[command[2] if len(command) > 1 else command[0]] = subprocess.Popen(
                    python, env=environment, stdout=log, stderr=log
                )

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(WAIT)

    def expect_alive(self) -> None:
        ended = {name: process.poll() for name, process in self.processes.items()}
        assert set(ended.values()) == {None}, self.log.read_text()[-20_000:]


@pytest.fixture
def site(nats_server: EmbeddedServer, tmp_path: Path) -> Iterator[Site]:
    site = Site(nats_server, tmp_path / "log")
    site.start()
    yield site
    site.stop()


def double(value: int) -> int:
    return 2 * value


def total(values: list[int]) -> int:
    return sum(values)


def honest(url: str, token: str) -> None:
    """A job that has to do with everybody: on both hosts, with values in the log and announcements."""
    with eventually(lambda: _connected(url, token), WAIT) as cluster:
        eventually(lambda: len(cluster.hosts) == len(HOSTS), WAIT)
        graph = hr.Graph("honest")
        graph.add(total, [graph.add(double, n) for n in range(40)], name="sum")
        job = cluster.submit(graph)
        assert job.results(timeout=WAIT) == {"sum": 2 * sum(range(40))}
        assert job.wait(WAIT) == "done"
        eventually(lambda: [entry.state for entry in cluster.jobs() if entry.job == job.id] == ["done"], WAIT)


def _connected(url: str, token: str) -> hr.Cluster | None:
    """A client; None while there is no cluster yet."""
    with contextlib.suppress(hr.ClusterFailed):
        return hr.Cluster.connect(url, token=token)
    return None


async def ask_all(bus: Bus) -> None:
    """Every endpoint is asked what it cannot answer."""
    draw = random.Random(8)
    fetches = draw.sample(list(edges.messages(Fetch, EXAMPLES[Fetch])), 60)
    asked = [(FETCH_SUBJECT, data) for data in fetches]
    endpoints = [
        *(f"headrace.service.headrace-{name}.status" for name in CENTRAL),
        *(f"headrace.service.headrace-worker.status-{h}" for h in HOSTS),
    ]
    asked += [(subject, data) for subject in endpoints for data in (b"", b"\xff", b"[" * 100_000)]
    for subject, data in asked:
        with contextlib.suppress(HeadraceError):
            await bus.request(subject, data, timeout=WAIT)


async def statuses(bus: Bus) -> dict[str, dict[str, Any]]:
    return {name: json.loads(await bus.request(f"headrace.service.headrace-{name}.status", timeout=WAIT)) for name in CENTRAL}


async def have_read(bus: Bus) -> dict[str, dict[str, Any]]:
    """What the services say once they lead and have read everything that is in the log by now."""
    marker = await bus.publish(subjects.request("nobody"), Release(job="nobody"))
    assert marker
    last = await bus.publish(subjects.event("nobody", "nobody"), b"")
    found: dict[str, dict[str, Any]] = {}
    async with asyncio.timeout(WAIT):
        while (
            not all(each.get("leading") and each["unreadable"].get("LOG", {"seq": 0})["seq"] >= last for each in found.values())
            or not found
        ):
            found = await statuses(bus)
            await asyncio.sleep(0.02)
    return found


def headrace(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "headrace.cli", *command]
    return subprocess.run(line, env={**os.environ, **env}, capture_output=True, text=True, timeout=WAIT, check=False)


def test_no_message_ends_a_service(site: Site, runner: asyncio.Runner) -> None:
    settings = site.server.settings
    honest(settings.url, settings.token)

    async def fuzz() -> None:
        async with await Bus.connect(settings, "fuzz") as bus:
            terms = {name: int(status["term"]) for name, status in (await have_read(bus)).items()}
            assert await write_all(bus, terms) > 3_000
            await ask_all(bus)
            for status in (await have_read(bus)).values():
                assert status["unreadable"]["LOG"]["count"] > 1_000
                assert status["unreadable"]["LOG"]["why"]

    runner.run(fuzz())
    site.expect_alive()
    honest(settings.url, settings.token)
    site.stop()
    site.start()

    async def again() -> None:
        async with await Bus.connect(settings, "look") as bus:
            await have_read(bus)

    eventually(lambda: _well(lambda: runner.run(again())), WAIT)
    honest(settings.url, settings.token)
    for command in (["jobs"], ["status", JOB], ["tail", "--no-follow"], ["tail", JOB, "--no-follow"], ["replay", JOB], ["outputs"]):
        told = headrace(*command, env=settings.to_env())
        assert told.returncode in (0, 1), (command, told.stderr)
        assert "Traceback" not in told.stderr, (command, told.stderr)
    site.expect_alive()


def _well(does: Any) -> bool:
    """Whether it is done; not while nobody serves yet."""
    try:
        does()
    except HeadraceError:
        return False
    return True
