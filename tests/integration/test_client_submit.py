"""`submit` returns once the log has the job, or says that it has not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

import headrace as hr
from headrace.bus import Bus, EmbeddedServer, Record
from headrace.bus.nats_bus import NatsBus
from headrace.client import job as job_module
from headrace.client.settings import SETTINGS, Settings
from headrace_schemas import subjects
from tests.tcp_proxy import TcpProxy

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
    monkeypatch.setattr(job_module, "SETTINGS", Settings(submit_seconds=0.5))
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


WINDOW = 0.1
"""Seconds for which the stream knows the ids of messages, the fewest that nats-server takes."""


def test_a_submission_that_is_sent_again_after_the_duplicate_window_is_stored_once(
    runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer
) -> None:
    async def submit(client: hr.Cluster, proxy: TcpProxy) -> str:
        """The server stores the submission, and its acknowledgement does not arrive before the connection is replaced."""
        for _ in range(SETTINGS.feeds_of_jobs + 2):  # later jobs share a feed, which is open
            await asyncio.to_thread(client.submit, one_graph())
        before = (await bus.usage("LOG")).messages
        proxy.freeze(up=False)
        submitting = asyncio.create_task(asyncio.to_thread(client.submit, one_graph()))
        stored = time.monotonic()
        while (await bus.usage("LOG")).messages == before:
            await asyncio.sleep(0.01)
            stored = time.monotonic()
        job = await submitting
        assert time.monotonic() - stored > 5 * WINDOW, "it was acknowledged while the stream still knew it"
        return job.id

    async def body() -> str:
        assert isinstance(bus, NatsBus)
        config = msgspec.json.decode(await bus._outbox.call("STREAM.INFO.LOG"))["config"]
        await bus._outbox.call("STREAM.UPDATE.LOG", config | {"duplicate_window": int(WINDOW * 1e9)})
        async with TcpProxy(nats_server.port) as proxy:
            client = await asyncio.to_thread(hr.Cluster.connect, proxy.url, token=nats_server.token)
            try:
                return await submit(client, proxy)
            finally:
                await asyncio.to_thread(client.close)

    job = runner.run(body())
    assert submitted(runner, bus).count(subjects.submitted(job)) == 1
