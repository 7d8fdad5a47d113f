"""Connections to NATS that die without a word, or on a network that loses packets: each is replaced, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from headrace.bus import Bus, EmbeddedServer, Record
from headrace.bus.nats_bus import NatsBus
from tests.tcp_proxy import TcpProxy

Until = Callable[..., Awaitable[None]]
SUBJECT = "headrace.event.job.host"
MB = 1_000_000
BUSY = 5.0
"""Seconds that a busy machine may need beside what is asserted."""


async def through(proxy: TcpProxy, server: EmbeddedServer, name: str) -> NatsBus:
    bus = await Bus.connect(msgspec.structs.replace(server.settings, url=proxy.url), name)
    assert isinstance(bus, NatsBus)
    return bus


def numbered(number: int) -> bytes:
    return b"%08d" % number + bytes(MB)


@pytest.mark.parametrize("down", [True, False], ids=["both ways", "one way"])
def test_a_connection_that_is_dead_with_12_mb_unsent_is_replaced(
    down: bool, runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until
) -> None:
    """What was published while it was dead is stored once and in order. With one way dead, messages still arrive."""

    async def body() -> None:
        records: list[Record] = []
        await bus.follow("LOG", SUBJECT, records.extend)
        async with TcpProxy(nats_server.port) as proxy, await through(proxy, nats_server, "dead") as other:
            await other.follow("LOG", SUBJECT, lambda records: None)
            await other.publish(SUBJECT, numbered(0))
            proxy.freeze(down=down)
            began = time.monotonic()
            futures = [other.publish(SUBJECT, numbered(number)) for number in range(1, 13)]
            assert other._wire.backlog > 5 * MB
            await until(lambda: proxy.accepted == 2, 5.0 + BUSY)
            seqs = [await future for future in futures]
            assert time.monotonic() - began < 6.0 + BUSY
            await until(lambda: len(records) == 13)
            assert [record.data[:8] for record in records] == [b"%08d" % number for number in range(13)]
            assert [record.seq for record in records[1:]] == seqs
            assert other.reading.replaced == 1

    runner.run(body())


def test_requests_and_leases_go_over_the_next_connection(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        async with TcpProxy(nats_server.port) as proxy, await through(proxy, nats_server, "dead") as other:
            lease = other.lease("controller", "me", 5.0)
            await lease.acquire()
            term = lease.term
            async with asyncio.timeout(20):  # renewed over a connection of its own
                while proxy.accepted < 2 or (await bus.kv("leases").get("controller")).revision == term:  # type: ignore[union-attr]
                    await asyncio.sleep(0.05)
            proxy.freeze()
            usage = await other.usage("LOG")
            assert usage.limit
            async with asyncio.timeout(20):
                while proxy.accepted < 4:
                    await asyncio.sleep(0.05)
            frozen = (await bus.kv("leases").get("controller")).revision  # type: ignore[union-attr]
            async with asyncio.timeout(20):
                while (await bus.kv("leases").get("controller")).revision == frozen:  # type: ignore[union-attr]
                    await asyncio.sleep(0.05)
            assert (lease.held, lease.term) == (True, term)

    runner.run(body())


def test_a_reader_whose_connection_is_dead_reads_on(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until) -> None:
    """It sends nothing: the heartbeats of its feed are missing."""

    async def body() -> None:
        records: list[Record] = []
        async with TcpProxy(nats_server.port) as proxy, await through(proxy, nats_server, "dead") as other:
            await other.follow("LOG", SUBJECT, records.extend)
            proxy.freeze()
            await bus.publish(SUBJECT, b"1")
            began = time.monotonic()
            await until(lambda: records)
            assert time.monotonic() - began < 5.0 + BUSY

    runner.run(body())


def test_a_connection_that_rests_is_not_replaced(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        assert isinstance(bus, NatsBus)
        async with TcpProxy(nats_server.port) as proxy, await through(proxy, nats_server, "rests") as other:
            for _ in range(40):
                other._tick()
            await other.publish(SUBJECT, b"1")
            assert (proxy.accepted, other.reading.replaced) == (1, 0)

    runner.run(body())


# --- a network that loses packets -------------------------------------------------------------------------------------------


LOSS = 0.2
LOSSY_SECONDS = 8.0


def in_namespace(name: str, *command: str) -> None:
    subprocess.run(["ip", "netns", "exec", name, *command], check=True, capture_output=True)


@contextmanager
def lossy_namespace() -> Iterator[str]:
    """A network namespace of which the loopback can lose packets; skips where there can be none."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("iptables"):
        pytest.skip("needs root, iproute2 and iptables")
    name = f"headrace-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    try:
        in_namespace(name, "ip", "link", "set", "lo", "up")
        try:
            lose(name, "-A")
            lose(name, "-D")
        except subprocess.CalledProcessError:
            pytest.skip("iptables cannot lose packets here")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def lose(namespace: str, how: str) -> None:
    """Begin (-A) or end (-D) to lose packets."""
    rule = ["INPUT", "-i", "lo", "-m", "statistic", "--mode", "random", "--probability", str(LOSS), "-j", "DROP"]
    in_namespace(namespace, "iptables", "-w", how, *rule)


WORK = """
import asyncio, json, sys, time
from headrace.bus import Bus, EmbeddedServer, new_loop

def say(**what):
    print(json.dumps(what), flush=True)

async def main(server):
    loop, records, futures, gaps = asyncio.get_running_loop(), [], [], []
    publisher, reader = [await Bus.connect(server.settings, name) for name in ("publisher", "reader")]
    await publisher.ensure_streams()
    await reader.follow("LOG", "headrace.event.job.host", records.extend)
    say(ready=True)
    stop = loop.run_in_executor(None, sys.stdin.readline)
    while not stop.done():
        futures.append(publisher.publish("headrace.event.job.host", b"%08d" % len(futures) + bytes(20_000)))
        await asyncio.sleep(0.01)
    cured = time.monotonic()
    async with asyncio.timeout(60):
        while len(records) < len(futures) or not all(future.done() for future in futures):
            await asyncio.sleep(0.01)
    say(seconds=time.monotonic() - cured, sent=len(futures), in_order=[int(r.data[:8]) for r in records] == list(range(len(futures))),
        replaced=publisher.reading.replaced + reader.reading.replaced)
    await publisher.close()
    await reader.close()

with EmbeddedServer(sys.argv[1]) as server, asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main(server))
"""


@pytest.mark.netns
def test_what_was_lost_on_the_way_is_there_ten_seconds_after_the_network_is_well_again(tmp_path: Path) -> None:
    with lossy_namespace() as name:
        command = ["ip", "netns", "exec", name, sys.executable, "-c", WORK, str(tmp_path / "nats")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                assert json.loads(process.stdout.readline()) == {"ready": True}
                lose(name, "-A")
                time.sleep(LOSSY_SECONDS)  # the fault itself takes that long
                lose(name, "-D")
                process.stdin.write("\n")
                process.stdin.flush()
                found = json.loads(process.stdout.readline())
            finally:
                process.terminate()
        assert found["in_order"], found
        assert found["seconds"] < 10.0 + BUSY, found
