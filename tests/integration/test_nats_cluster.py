"""A cluster of three NATS servers: whichever of them dies, the stream's leader too, jobs go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import headrace as hr
from headrace.bus import BusSettings
from headrace_schemas.streams import LOG
from tests.nats_cluster import SIZE, NatsCluster
from tests.waiting import eventually

SERVICES = ["controller", "scheduler", "publisher", "worker"]
WAIT = 120.0
TASK_SECONDS = 0.2
TASKS = 16
"""Of which two run at a time: most of them are still to run when a server is killed."""


def slow_square(number: int) -> int:
    time.sleep(TASK_SECONDS)
    return number * number


def squares() -> hr.Graph:
    graph = hr.Graph("squares")
    for number in range(TASKS):
        graph.add(slow_square, number, name=str(number))
    return graph


@contextmanager
def services(settings: BusSettings, folder: Path) -> Iterator[dict[str, Path]]:
    """The services of a cluster with one host, and their logs."""
    environment = {
        **os.environ,
        **settings.to_env(),
        "HEADRACE_HOST": "h",
        "HEADRACE_RUNNERS": "2",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    logs = {name: folder / f"{name}.log" for name in SERVICES}
    with ExitStack() as stack:
        for name, log in logs.items():
            command = [sys.executable, "-m", "headrace.cli", name]
            process = subprocess.Popen(command, env=environment, stderr=stack.enter_context(log.open("wb")))
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield logs


@contextmanager
def joined(settings: BusSettings) -> Iterator[hr.Cluster]:
    """A client of the cluster, once it has its host."""

    def connect() -> hr.Cluster | None:
        try:
            return hr.Cluster.connect(settings.url, token=settings.token)
        except hr.HeadraceError:  # the controller has yet to make the streams
            return None

    with eventually(connect) as client:
        eventually(lambda: client.hosts)
        yield client


def test_killing_any_server_stops_nothing(tmp_path: Path) -> None:
    with NatsCluster(tmp_path) as nats, services(nats.settings, tmp_path) as logs, joined(nats.settings) as client:
        assert client.submit(squares()).results(WAIT) == {str(number): number * number for number in range(TASKS)}
        eventually(lambda: nats.leader_of(LOG.name) is not None, told=nats.logs)
        first = nats.leader_of(LOG.name)
        for victim in [first, *(number for number in range(SIZE) if number != first)]:
            job = client.submit(squares())
            eventually(lambda job=job: job.status().tasks["done"] > 2)
            nats.kill(victim)
            assert job.results(WAIT) == {str(number): number * number for number in range(TASKS)}, logs
            assert job.status().state == "done"
            nats.start(victim)
            eventually(nats.is_current, WAIT, told=nats.logs)
        assert client.hosts == ["h"]
        assert "HostTaken" not in logs["worker"].read_text()
