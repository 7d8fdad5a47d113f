"""The server is killed and started again while messages are on their way: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from headrace.bus import Bus, EmbeddedServer, Record
from headrace.bus.nats_bus import NatsBus

Until = Callable[..., Awaitable[None]]
SUBJECT = "headrace.event.job.host"


def _kill(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert server._process is not None
    server._process.wait()


async def _restart(server: EmbeddedServer) -> None:
    port = server.port
    _kill(server)
    await asyncio.to_thread(server.start)
    assert server.port == port


def test_publishes_and_feeds_go_on_over_a_kill(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until) -> None:
    async def body() -> None:
        records: list[Record] = []
        futures: list[asyncio.Future[int]] = []
        async with await Bus.connect(nats_server.settings, "reader") as reader:
            feed = await reader.follow("LOG", SUBJECT, records.extend)

            async def publishing() -> None:
                for number in range(3000):
                    futures.append(bus.publish(SUBJECT, b"%d" % number))
                    if number % 10 == 0:
                        await asyncio.sleep(0.001)

            work = asyncio.ensure_future(publishing())
            for goal in (300, 1500):
                await until(lambda goal=goal: len(futures) >= goal)
                await _restart(nats_server)
            await work
            await bus.flush_acks(20)
            await until(lambda: len(records) >= 3000)
            assert [future.result() for future in futures] == [record.seq for record in records]
            assert [record.data for record in records] == [b"%d" % number for number in range(3000)]
            assert feed.last_seq == 3000

    runner.run(body())


def test_what_is_published_without_a_connection_goes_out_later(
    runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until
) -> None:
    async def body() -> None:
        _kill(nats_server)
        await until(lambda: not bus.connected)
        futures = [bus.publish(SUBJECT, b"%d" % number) for number in range(100)]
        await asyncio.to_thread(nats_server.start)
        assert [await future for future in futures] == list(range(1, 101))

    runner.run(body())


def test_a_key_that_went_unseen_is_reported(runner: asyncio.Runner, bus: NatsBus, nats_server: EmbeddedServer, until: Until) -> None:
    """A watcher whose connection was away when a key was deleted, and its marker gone, still hears of it."""

    async def body() -> None:
        events: list[tuple[str, bytes | None]] = []
        hosts = bus.kv("hosts")
        await hosts.put("stays", b"1")
        await hosts.put("goes", b"2")
        feed = await hosts.watch(lambda key, value, revision: events.append((key, value)))
        await feed.caught_up.wait()
        feed.suspend()  # type: ignore[attr-defined]
        await bus._purge("KV_hosts", "$KV.hosts.goes")
        await hosts.put("stays", b"3")
        await _restart(nats_server)
        await until(lambda: len(events) == 4)
        assert events == [("stays", b"1"), ("goes", b"2"), ("stays", b"3"), ("goes", None)]

    runner.run(body())


def test_a_work_queue_goes_on(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until) -> None:
    async def body() -> None:
        taken: list[bytes] = []

        async def take(record: Record) -> None:
            taken.append(record.data)

        await bus.requests("REQUESTS", "controller", take)
        bus.publish("headrace.request.a", b"1")
        await until(lambda: taken == [b"1"])
        await _restart(nats_server)
        bus.publish("headrace.request.a", b"2")
        await until(lambda: b"2" in taken)

    runner.run(body())
