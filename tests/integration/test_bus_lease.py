"""Leases on a real server: one holder, expiry, a term that grows, and losing it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from headrace.bus import Bus, EmbeddedServer


def test_one_of_two_contenders_holds_it_and_the_other_follows_with_a_higher_term(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        first, second = bus.lease("controller", "one", 5), bus.lease("controller", "two", 5)
        term = await first.acquire()
        assert not await second.try_acquire()
        waiting = asyncio.ensure_future(second.acquire())
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        await first.release()
        assert await asyncio.wait_for(waiting, 1) > term
        assert first.lost.is_set()
        assert not second.lost.is_set()
        await second.release()

    runner.run(body())


def test_it_is_renewed_and_its_term_stays(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        lease = bus.lease("controller", "one", 1)
        term = await lease.acquire()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lease.lost.wait(), 2.5)
        entry = await bus.kv("leases").get("controller")
        assert entry is not None
        assert entry.revision > term == lease.term
        assert b'"one"' in entry.value
        await lease.release()

    runner.run(body())


def test_a_holder_that_stops_renewing_is_followed_by_another(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        async with await Bus.connect(nats_server.settings, "dies") as other:
            held = other.lease("controller", "one", 1)
            term = await held.acquire()
            assert held._renewing is not None
            held._renewing.cancel()
            lease = bus.lease("controller", "two", 1)
            assert await asyncio.wait_for(lease.acquire(), 5) > term
            await lease.release()

    runner.run(body())


def test_it_is_lost_when_somebody_else_wrote_the_key(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        lease = bus.lease("controller", "one", 1)
        await lease.acquire()
        await bus.kv("leases").put("controller", b"{}")
        await asyncio.wait_for(lease.lost.wait(), 1)
        await lease.release()
        entry = await bus.kv("leases").get("controller")
        assert entry is not None  # a lease that is not ours is not released

    runner.run(body())


def test_it_is_lost_when_the_server_is_away_for_too_long(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        lease = bus.lease("controller", "one", 1)
        await lease.acquire()
        since = asyncio.get_running_loop().time()
        os.kill(nats_server.pid, signal.SIGSTOP)
        try:
            await asyncio.wait_for(lease.lost.wait(), 5)
            assert asyncio.get_running_loop().time() - since < 1.5
        finally:
            os.kill(nats_server.pid, signal.SIGCONT)
        again = bus.lease("controller", "two", 1)
        assert await asyncio.wait_for(again.acquire(), 5) > lease.term
        await again.release()

    runner.run(body())
