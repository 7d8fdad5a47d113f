"""Services that start anew with a snapshot of the log, or with one that cannot be used, go on as if they had read all of it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings
from headrace.errors import NatsUnreachable
from headrace_schemas import LedgerSnapshot, encode
from headrace_schemas.streams import SNAPSHOTS
from tests.waiting import eventually, wait_for

SERVICES = ("controller", "scheduler", "publisher")
WAIT = 120.0
JOBS = 450
"""Jobs with more messages than there are between two snapshots."""


def wait(gate: str) -> str:
    return wait_for(gate) and "went on"


def large() -> np.ndarray:
    return np.arange(100_000)


def one(number: int) -> int:
    return number


def graph_of(function: object, *args: object) -> hr.Graph:
    graph = hr.Graph("one")
    graph.add(function, *args, name="it")
    return graph


class Services:
    """The services of a cluster, as a bus sees them."""

    def __init__(self, cluster: hr.Cluster, runner: asyncio.Runner) -> None:
        self._cluster = cluster
        self._runner = runner
        self._bus = runner.run(Bus.connect(BusSettings(url=cluster.url, token=cluster.token), "test"))

    def close(self) -> None:
        self._runner.run(self._bus.close())

    def status(self, name: str) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._runner.run(self._bus.request(f"headrace.service.headrace-{name}.status")))
        except NatsUnreachable:
            return {}

    def kill(self) -> None:
        """Kill all, and wait until others lead that read all that they need."""
        before = {name: self.status(name)["term"] for name in SERVICES}
        for name in SERVICES:
            os.kill(self._cluster.pids()[name], signal.SIGKILL)
        for name in SERVICES:
            eventually(lambda name=name: self.status(name).get("term", 0) > before[name])

    def snapshot(self, name: str) -> LedgerSnapshot:
        found = self._runner.run(self._bus.kv(SNAPSHOTS.name).get(name))
        assert found is not None
        return msgspec.json.decode(found.value, type=LedgerSnapshot)

    def write(self, name: str, value: bytes) -> None:
        self._runner.run(self._bus.kv(SNAPSHOTS.name).put(name, value))


def run_jobs(cluster: hr.Cluster, count: int) -> None:
    jobs = [cluster.submit(graph_of(one, number)) for number in range(count)]
    assert [job.result("it", WAIT) for job in jobs] == list(range(count))


@pytest.mark.parametrize("snapshots", ["as they are", "that cannot be read", "of another log", "of another release"])
def test_jobs_go_on_after_services_start_anew(runner: asyncio.Runner, tmp_path: Path, snapshots: str) -> None:
    gate = tmp_path / "gate"
    with hr.Cluster.local(hosts=1, runners=2, progress=False) as cluster:
        services = Services(cluster, runner)
        try:
            waiting, held = cluster.submit(graph_of(wait, str(gate))), cluster.submit(graph_of(large))
            held.wait(WAIT)
            run_jobs(cluster, JOBS)
            for name in SERVICES:
                eventually(lambda name=name: services.status(name).get("snapshot"))
            for name in SERVICES:
                known = services.snapshot(name)
                assert waiting.id in known.jobs
                if snapshots == "that cannot be read":
                    services.write(name, b"{")
                elif snapshots == "of another log":
                    services.write(name, encode(msgspec.structs.replace(known, time=1.0, jobs=[])))
                elif snapshots == "of another release":
                    services.write(name, encode(msgspec.structs.replace(known, layout=known.layout + 1, jobs=[])))
            services.kill()
            if snapshots == "as they are":
                assert all(services.status(name)["snapshot"] for name in SERVICES)
            gate.touch()
            assert waiting.result("it", WAIT) == "went on"
            np.testing.assert_array_equal(held.result("it", WAIT), np.arange(100_000))
            run_jobs(cluster, 3)
            assert len(waiting.outputs()) == 1
        finally:
            services.close()
