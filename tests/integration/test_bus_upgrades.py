"""Streams and buckets that an older release made, on a real server: what this release changes of them, and what it leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from headrace.bus import Bus, EmbeddedServer, layout
from headrace.bus.nats_bus import NatsBus
from headrace.errors import PublishRefused
from headrace_schemas import TermBegan, subjects
from headrace_schemas.streams import JOBS, LOG

KB = 1000
OLD: dict[str, Any] = layout.bucket(JOBS, 1) | {"discard": "new", "max_age": 0, "max_bytes": 20 * KB}


async def config_of(bus: Bus, stream: str) -> dict[str, Any]:
    assert isinstance(bus, NatsBus)
    config: dict[str, Any] = msgspec.json.decode(await bus._outbox.call(f"STREAM.INFO.{stream}"))["config"]
    return config


async def made(bus: Bus, config: dict[str, Any]) -> None:
    assert isinstance(bus, NatsBus)
    await bus._outbox.call(f"STREAM.CREATE.{config['name']}", config)


def test_the_list_of_jobs_is_bounded_in_age(runner: asyncio.Runner, bus: Bus) -> None:
    config = runner.run(config_of(bus, "KV_jobs"))
    assert (config["max_age"], config["discard"]) == (LOG.max_age * 1e9, "old")


def test_a_full_list_of_jobs_drops_the_oldest_entries_and_an_older_release_s_list_learns_to(
    runner: asyncio.Runner, nats_server: EmbeddedServer
) -> None:
    async def body() -> None:
        async with await Bus.connect(nats_server.settings, "test") as bus:
            await made(bus, OLD)
            jobs = bus.kv("jobs")
            with pytest.raises(PublishRefused, match="the stream is full"):
                await asyncio.gather(*(jobs.put(f"job-{number:02}", bytes(KB)) for number in range(30)))
            await bus.ensure_buckets()
            for number in range(30):
                await jobs.put(f"job-{number:02}", bytes(KB))
            kept = sorted(await jobs.keys())
            assert kept == [f"job-{number:02}" for number in range(30 - len(kept), 30)]
            assert 10 < len(kept) < 20
            config = await config_of(bus, "KV_jobs")
            assert (config["max_age"], config["max_bytes"]) == (LOG.max_age * 1e9, 20 * KB)

    runner.run(body())


def test_the_log_of_an_older_release_takes_subjects_that_are_new_and_keeps_its_own(
    runner: asyncio.Runner, nats_server: EmbeddedServer
) -> None:
    async def body() -> None:
        async with await Bus.connect(nats_server.settings, "test") as bus:
            older = [subject for subject in LOG.subjects if not subject.startswith("headrace.term.")]
            await made(bus, layout.stream(LOG, 1) | {"subjects": [*older, "operators.own"], "max_bytes": 50 * KB})
            await bus.ensure_streams()
            config = await config_of(bus, "LOG")
            assert (sorted(config["subjects"]), config["max_bytes"]) == (sorted([*LOG.subjects, "operators.own"]), 50 * KB)
            began = TermBegan(at=0, term=1, service="controller")
            await bus.publish(began.subject(), began)
            assert await bus.last("LOG", subjects.term("controller")) is not None

    runner.run(body())


def test_the_age_that_an_operator_set_stays(runner: asyncio.Runner, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        async with await Bus.connect(nats_server.settings, "test") as bus:
            await made(bus, OLD | {"max_age": int(3600e9)})
            await bus.ensure_buckets()
            config = await config_of(bus, "KV_jobs")
            assert (config["max_age"], config["discard"]) == (3600e9, "new")

    runner.run(body())
