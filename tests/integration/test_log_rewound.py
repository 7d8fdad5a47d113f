"""NATS loses the last seconds of its store: that is noticed, said, and everybody begins again from what is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

import headrace as hr
from headrace.bus import Bus, EmbeddedServer, Record
from headrace.errors import LogRewound
from tests.waiting import eventually, wait_for

Until = Callable[..., Awaitable[None]]
SUBJECT = "headrace.event.job.host"
SERVICES = ["controller", "scheduler", "publisher", "worker"]
WAIT = 100.0


class Store:
    """A server's store, as it was when it was `kept`. The server is stopped meanwhile by a signal, as a disk would be copied."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._copy = server.folder.with_name("older")

    def stop(self) -> None:
        """Have the server do nothing from here on."""
        os.kill(self._server.pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(self._server.pid).status() == psutil.STATUS_STOPPED)

    def keep(self) -> None:
        """Remember the store as it is now."""
        self.stop()
        shutil.copytree(self._server.folder / "store", self._copy)
        os.kill(self._server.pid, signal.SIGCONT)

    def bring_back(self) -> None:
        """Kill the server, and start it on the store that was kept."""
        os.kill(self._server.pid, signal.SIGKILL)
        assert self._server._process is not None
        self._server._process.wait()
        shutil.rmtree(self._server.folder / "store")
        shutil.copytree(self._copy, self._server.folder / "store")
        self._server.start()


# --- the bus ---------------------------------------------------------------------------------------------------------------


async def written(bus: Bus, count: int) -> None:
    for number in range(count):
        await bus.publish(SUBJECT, b"%d" % number)


@pytest.mark.parametrize("since", [0, 5, 50], ids=["nothing since", "fewer since", "more since"])
def test_a_feed_of_a_log_that_lost_its_end_says_so(
    since: int, runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until
) -> None:
    """Also if others have written meanwhile, so that the last sequence is as high as before, or higher."""

    async def body() -> None:
        store, records = Store(nats_server), list[Record]()
        async with await Bus.connect(nats_server.settings, "reader") as reader, await Bus.connect(nats_server.settings, "writer") as other:
            feed = await reader.follow("LOG", SUBJECT, records.extend)
            unaffected = await reader.follow("OUTPUTS", "headrace.output.>", lambda records: None)
            reading = reader.reading
            await written(bus, 10)
            await asyncio.to_thread(store.keep)
            await written(bus, 20)
            await until(lambda: len(records) == 30)
            reading.seq, reading.time = records[-1].seq, records[-1].time
            wire = reader._wire  # type: ignore[attr-defined]
            wire.verify = _after(wire.verify, other, since)
            await asyncio.to_thread(store.bring_back)
            with pytest.raises(LogRewound, match=r"NATS came back with an older log: (its last message|message 30 is not the one)"):
                async with asyncio.timeout(20):
                    await feed.ended
            assert not unaffected.ended.done()
            assert reading.rewound == 1
            await until(lambda: reader.connected)
            again = await reader.follow("LOG", SUBJECT, records.extend)
            async with asyncio.timeout(20):
                await again.caught_up.wait()

    runner.run(body())


def _after(verify: Callable[[], Awaitable[None]], bus: Bus, count: int) -> Callable[[], Awaitable[None]]:
    """What verifies a connection, once another one has written something."""

    async def run() -> None:
        await written(bus, count)
        await verify()

    return run


def test_who_only_writes_notices_it_too_and_drops_what_follows(
    runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until
) -> None:
    async def body() -> None:
        store = Store(nats_server)
        bus.wait_for_room()
        await written(bus, 1)
        await asyncio.to_thread(store.keep)
        await written(bus, 1)
        await asyncio.to_thread(store.stop)
        waits = bus.publish(SUBJECT, b"follows from what is lost")
        await asyncio.to_thread(store.bring_back)
        await until(lambda: bus.reading.rewound == 1)
        assert waits.cancelled()
        assert await bus.publish(SUBJECT, b"2") == 2

    runner.run(body())


def test_a_server_that_lost_nothing_is_trusted(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until) -> None:
    async def body() -> None:
        store, records = Store(nats_server), list[Record]()
        feed = await bus.follow("LOG", SUBJECT, records.extend)
        await written(bus, 3)
        bus.reading.seq, bus.reading.time = records[-1].seq, records[-1].time
        await asyncio.to_thread(store.keep)
        await asyncio.to_thread(store.bring_back)
        await until(lambda: bus.connected)
        await bus.purge("LOG", SUBJECT)
        await written(bus, 1)
        await until(lambda: len(records) == 4)
        assert (bus.reading.rewound, feed.ended.done()) == (0, False)

    runner.run(body())


# --- a whole cluster --------------------------------------------------------------------------------------------------------


def gated(path: Path, number: int) -> hr.Graph:
    """Two arrays, of which the second is made once there is a file."""
    graph = hr.Graph(f"gated-{number}")
    first = graph.add(bytes, 100_000, name="first")
    gate = graph.add(wait_for, str(path), name="gate")
    graph.add(_joined, first, gate, name="joined")
    return graph


def _joined(first: bytes, gate: str) -> int:
    return len(first) + len(gate)


def test_a_cluster_begins_again_from_what_is_left(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    gate, store = tmp_path / "gate", Store(nats_server)
    of_host = {"HEADRACE_HOST": "h", "HEADRACE_RUNNERS": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment = {**os.environ, **nats_server.settings.to_env(), **of_host}
    logs = {name: tmp_path / f"{name}.log" for name in SERVICES}
    with ExitStack() as stack:
        for name, log in logs.items():
            command = [sys.executable, "-m", "headrace.cli", name]
            process = subprocess.Popen(command, env=environment, stderr=stack.enter_context(log.open("wb")))
            stack.callback(process.wait)
            stack.callback(process.terminate)

        def client() -> hr.Cluster | None:
            try:
                return hr.Cluster.connect(nats_server.url, token=nats_server.token)
            except hr.HeadraceError:
                return None

        def shown() -> str:
            return "\n".join(log.read_text()[-3000:] for log in logs.values())

        first = stack.enter_context(eventually(client))
        eventually(lambda: first.hosts, told=shown)
        kept = first.submit(gated(gate, 0))
        eventually(lambda: kept.status().tasks["started"], told=shown)
        store.keep()
        lost = first.submit(gated(gate, 1))
        eventually(lambda: lost.status().tasks["started"], told=shown)
        time.sleep(0.5)
        store.bring_back()
        with pytest.raises(hr.ClusterFailed, match=r"NATS came back with an older log: .* resubmit the jobs"):
            lost.results(WAIT)
        gate.touch()
        second = stack.enter_context(eventually(client))
        expected = 100_000 + len(str(gate))
        assert second.job(kept.id).results(WAIT) == {"joined": expected}, shown()
        with pytest.raises(hr.NoSuchJob):
            second.job(lost.id)
        assert second.submit(gated(gate, 2)).results(WAIT) == {"joined": expected}, shown()
        assert second.hosts == ["h"]
        assert second.status().jobs == 0
        assert "the log is an older one" in logs["worker"].read_text()
