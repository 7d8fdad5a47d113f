"""`submit` returns once the log has the job, or says that it has not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import headrace as hr
from headrace.bus import Bus, EmbeddedServer, Record
from headrace.client import job as job_module
from headrace_schemas import subjects

DIES = """
import os, signal, sys
import headrace as hr

graph = hr.Graph("one")
graph.add(bytes, int(sys.argv[1]), name="one")
graph.add(len, b"x" * int(sys.argv[1]), name="large")
cluster = hr.Cluster.connect()
cluster.submit(graph)
os.kill(os.getpid(), signal.SIGKILL)
"""


def one_graph() -> hr.Graph:
    graph = hr.Graph("one")
    graph.add(abs, -1, name="one")
    return graph


def submitted(runner: asyncio.Runner, bus: Bus) -> list[str]:
    """The jobs that the log has."""

    async def read() -> list[str]:
        records: list[Record] = []
        feed = await bus.follow("LOG", f"{subjects.ROOT}.job.*{subjects.SUBMITTED}", records.extend)
        await feed.caught_up.wait()
        await feed.close()
        return [record.subject for record in records]

    return runner.run(read())


@pytest.fixture
def client(bus: Bus, nats_server: EmbeddedServer) -> Iterator[hr.Cluster]:
    """A client of a cluster that has streams and no service."""
    with hr.Cluster.connect(nats_server.url, token=nats_server.token) as client:
        yield client


@pytest.mark.parametrize("size", [10, 500_000], ids=["small", "large"])
def test_a_job_is_in_the_log_although_its_client_dies_right_after(
    size: int, runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer
) -> None:
    process = subprocess.run([sys.executable, "-c", DIES, str(size)], env=os.environ | nats_server.settings.to_env(), timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(submitted(runner, bus)) == 1


def test_a_job_that_nats_did_not_confirm_is_given_up(
    runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, client: hr.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "SUBMIT_SECONDS", 0.5)
    nats_server.stop()
    with pytest.raises(hr.NatsUnreachable, match=r"did not confirm within 0.5 s that the log has job \w+ \('one'\), which was given up"):
        client.submit(one_graph())
    nats_server.start()
    monkeypatch.undo()
    second = client.submit(one_graph())
    assert submitted(runner, bus) == [subjects.submitted(second.id)]


def test_a_job_that_is_submitted_while_nats_is_away_is_stored_when_it_is_back(
    runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, client: hr.Cluster
) -> None:
    nats_server.stop()
    found: list[hr.Job] = []
    submitting = threading.Thread(target=lambda: found.append(client.submit(one_graph())))
    submitting.start()
    nats_server.start()
    submitting.join(60)
    assert submitted(runner, bus) == [subjects.submitted(job.id) for job in found]
    assert len(found) == 1
