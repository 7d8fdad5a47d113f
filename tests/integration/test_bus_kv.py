"""Buckets on a real server; also read and written by nats-py's own, so that the layout is the usual one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import nats
import pytest

from headrace.bus import Bus, EmbeddedServer
from headrace.errors import JetStreamRefused, WrongRevision

Until = Callable[..., Awaitable[None]]


def test_get_put_create_update_delete(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        jobs = bus.kv("jobs")
        assert await jobs.get("a") is None
        first = await jobs.create("a", b"1")
        assert await jobs.get("a") == ("a", b"1", first)
        with pytest.raises(WrongRevision):
            await jobs.create("a", b"2")
        second = await jobs.update("a", b"2", first)
        with pytest.raises(WrongRevision):
            await jobs.update("a", b"3", first)
        with pytest.raises(WrongRevision):
            await jobs.delete("a", revision=first)
        await jobs.delete("a", revision=second)
        assert await jobs.get("a") is None
        assert await jobs.create("a", b"4") > second
        await jobs.put("b.c", b"")
        assert sorted(await jobs.keys()) == ["a", "b.c"]
        assert (await jobs.entries())["b.c"].value == b""

    runner.run(body())


def test_a_key_with_blanks_and_a_missing_bucket_are_refused(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        with pytest.raises(JetStreamRefused, match="cannot be a key"):
            await bus.kv("jobs").put("a b", b"")
        assert await bus.kv("nowhere").get("a") is None
        with pytest.raises(JetStreamRefused, match="stream not found"):
            await bus.kv("nowhere").keys()

    runner.run(body())


def test_a_watch_tells_of_what_is_there_changes_deletions_and_expiries(runner: asyncio.Runner, bus: Bus, until: Until) -> None:
    async def body() -> None:
        events: list[tuple[str, bytes | None]] = []
        hosts = bus.kv("hosts")
        await hosts.put("old", b"0")
        feed = await hosts.watch(lambda key, value, revision: events.append((key, value)))
        await asyncio.wait_for(feed.caught_up.wait(), 2)
        assert events == [("old", b"0")]
        await hosts.put("short", b"1", ttl=1)
        await hosts.delete("old")
        await until(lambda: len(events) == 4)
        assert events[1:] == [("short", b"1"), ("old", None), ("short", None)]
        assert await hosts.get("short") is None
        assert await hosts.create("short", b"2")

    runner.run(body())


def test_a_watcher_that_fails_ends_its_feed_and_nothing_else(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        def fails(key: str, value: bytes | None, revision: int) -> None:
            raise ZeroDivisionError(key)

        feed = await bus.kv("jobs").watch(fails)
        await bus.kv("jobs").put("a", b"1")
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(feed.ended, 5)
        assert await bus.kv("jobs").keys() == ["a"]

    runner.run(body())


def test_a_watch_of_an_empty_bucket_has_caught_up(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        feed = await bus.kv("jobs").watch(lambda key, value, revision: None, "some.*")
        await asyncio.wait_for(feed.caught_up.wait(), 0.5)

    runner.run(body())


def test_other_clients_see_the_same(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        client = await nats.connect(nats_server.url, token=nats_server.token)
        theirs = await client.jetstream().key_value("jobs")
        await bus.kv("jobs").put("a", b"1")
        assert (await theirs.get("a")).value == b"1"
        await theirs.delete("a")
        assert await bus.kv("jobs").get("a") is None
        objects = await client.jetstream().object_store("graphs")
        await bus.objects("graphs").put("big", b"z" * 2_000_000)
        assert (await objects.get("big")).data == b"z" * 2_000_000
        await objects.put("theirs", b"y" * 300_000)
        assert await bus.objects("graphs").get("theirs") == b"y" * 300_000
        await client.close()

    runner.run(body())


def test_objects_of_any_size_are_stored_replaced_and_deleted(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        graphs = bus.objects("graphs")
        for data in (b"", b"small", bytes(range(256)) * 20_000):
            await graphs.put("key", data)
            assert await graphs.get("key") == data
        await graphs.delete("key")
        with pytest.raises(JetStreamRefused, match="no object 'key' in 'graphs'"):
            await graphs.get("key")

    runner.run(body())
