"""Leases on a real server: one holder, expiry, a term that grows, and losing it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

from headrace.bus import Bus, EmbeddedServer, Lease, tenure
from headrace.bus import lease as lease_module
from headrace.bus.tenure import Loss, Moment


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


def busy(seconds: float) -> None:
    """Keep the loop, and the interpreter, busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))


def test_long_work_on_the_loop_does_not_cost_the_lease(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        lease = bus.lease("controller", "one", 2)
        term = await lease.acquire()
        for _ in range(2):
            busy(5)
            assert lease.held
            await asyncio.sleep(0.01)
        assert not lease.lost.is_set()
        assert lease.term == term
        await lease.release()
        assert await bus.kv("leases").get("controller") is None

    runner.run(body())


def test_a_holder_that_hangs_loses_it(runner: asyncio.Runner, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "HUNG_SECONDS", 1.5)

    async def body() -> None:
        lease = bus.lease("controller", "one", 1)
        await lease.acquire()
        busy(5)
        assert lease.loss is Loss.HUNG
        assert not lease.held
        assert await bus.kv("leases").get("controller") is None
        await lease.release()

    runner.run(body())


def test_a_busy_holder_sees_at_once_that_it_was_deposed(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    """Long work ends with a question whether it still counts, before the loop has turned."""

    async def depose() -> None:
        async with await Bus.connect(nats_server.settings, "other") as other:
            await other.kv("leases").put("controller", b"{}")

    async def body() -> None:
        lease = bus.lease("controller", "one", 2)
        await lease.acquire()
        assert lease.held
        thread = threading.Thread(target=lambda: asyncio.run(depose()))
        thread.start()
        busy(3)
        thread.join()
        assert not lease.lost.is_set()
        assert not lease.held
        assert lease.loss is Loss.TAKEN
        await lease.release()

    runner.run(body())


def test_the_holder_before_takes_it_back_at_once(runner: asyncio.Runner, bus: Bus) -> None:
    """One that lost sight of its lease need not wait for it to expire, if nobody else had it meanwhile."""

    async def body() -> None:
        lease = bus.lease("controller", "one", 5)
        term = await lease.acquire()
        async with asyncio.timeout(1):
            assert await lease.acquire() > term
            assert not await bus.lease("controller", "two", 5).try_acquire()
        await lease.release()

    runner.run(body())


def test_a_suspended_machine_does_not_act_on_a_lease_of_before(runner: asyncio.Runner, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        lease = bus.lease("controller", "one", 5)
        await lease.acquire()
        monkeypatch.setattr(lease_module, "wall", lambda: tenure.wall() + 600)
        monkeypatch.setattr(lease_module, "moment", lambda: Moment(tenure.steady(), tenure.wall() + 600))
        assert not lease.held
        assert lease.lost.is_set()
        monkeypatch.undo()
        async with asyncio.timeout(2):
            await lease.acquire()
        assert lease.held
        await lease.release()

    runner.run(body())


def test_one_that_does_not_lapse_is_held_until_the_server_says_that_it_is_gone(
    runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer
) -> None:
    async def body() -> None:
        lease = Lease(bus, "hosts", "host-0", b"one", 1, lapses=False)
        await lease.acquire()
        await asyncio.sleep(0.3)
        os.kill(nats_server.pid, signal.SIGSTOP)
        await asyncio.sleep(1.2)
        assert lease.held
        await asyncio.sleep(1)
        os.kill(nats_server.pid, signal.SIGCONT)
        await asyncio.wait_for(lease.lost.wait(), 5)
        assert lease.loss is Loss.EXPIRED
        await lease.release()

    runner.run(body())


def test_a_mistake_in_the_renewing_loses_it(runner: asyncio.Runner, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a mistake")

    async def body() -> None:
        lease = Lease(bus, "hosts", "host-0", b"one", 1, lapses=False)
        await lease.acquire()
        monkeypatch.setattr(lease_module, "_set_within", fail)
        async with asyncio.timeout(5):
            await lease.lost.wait()
        assert lease.loss is Loss.EXPIRED
        await lease.release()

    runner.run(body())
