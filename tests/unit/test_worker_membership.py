"""A host's name and epoch: who may have it, and that it only ever grows."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.bus import MemoryBus
from headrace.bus.tenure import Loss
from headrace.worker.membership import Contention, HostTaken, latest_terms, next_epoch, register
from headrace.worker.settings import Settings
from headrace_schemas import HostEntry, HostJoined, HostLost, TermBegan, encode, subjects

SETTINGS = Settings(host="a", lease_seconds=1.0)


def entry(epoch: int) -> HostEntry:
    return HostEntry(host="a", epoch=epoch, address="127.0.0.1:1", runners=1, capacity=1 << 20)


def test_an_epoch_is_the_time_and_more_than_any_before_it() -> None:
    async def body() -> None:
        bus, now = MemoryBus(), time.time_ns() // 1_000_000
        assert now <= await next_epoch(bus, "a", 0) <= now + 10_000
        assert await next_epoch(bus, "a", now + 10**9) == now + 10**9 + 1
        later = now + 10**10  # the clock was set back since
        await bus.publish(subjects.host("a"), HostJoined(at=0, term=1, host="a", epoch=later, address="127.0.0.1:1", runners=1, capacity=1))
        assert await next_epoch(bus, "a", 0) == later + 1
        await bus.publish(subjects.host("a"), HostLost(at=0, term=1, host="a", epoch=later + 5))
        assert await next_epoch(bus, "a", 0) == later + 6
        assert await next_epoch(bus, "b", 0) < later
        await bus.publish(subjects.host("a"), b"not a message")
        assert await next_epoch(bus, "a", 0) < later

    asyncio.run(body())


def test_a_name_is_lost_to_whoever_renews_it_and_to_nobody_else() -> None:
    stands = Contention(8.0)
    assert not any(stands.is_lost(5, now) for now in (0.0, 7.0, 100.0, 10_000.0))
    renewed = Contention(8.0)
    assert [renewed.is_lost(revision, now) for revision, now in ((5, 0.0), (6, 2.0), (7, 8.0), (8, 8.1))] == [False, False, False, True]


def test_a_second_host_of_a_name_is_refused_and_the_first_goes_on() -> None:
    async def body() -> None:
        bus = MemoryBus()
        first = await register(bus, SETTINGS, entry(1))
        with pytest.raises(HostTaken, match=r"'a'\. Give each host its own name"):
            await register(bus, SETTINGS, entry(2))
        assert first.held
        await first.release()

    asyncio.run(body())


def test_the_name_of_one_that_died_is_taken_when_its_lease_has_run_out() -> None:
    async def body() -> None:
        bus = MemoryBus()
        dead = await register(bus, SETTINGS, entry(1))
        assert dead._renewing is not None
        dead._renewing.cancel()
        async with asyncio.timeout(3):
            lease = await register(bus, SETTINGS, entry(2))
        assert lease.term > dead.term
        await lease.release()

    asyncio.run(body())


def test_a_host_whose_name_somebody_else_took_hears_of_it() -> None:
    async def body() -> None:
        bus = MemoryBus()
        lease = await register(bus, SETTINGS, entry(1))
        await bus.kv("hosts").put("a", encode(entry(2)), ttl=60)
        async with asyncio.timeout(3):
            await lease.lost.wait()
        assert lease.loss is Loss.TAKEN

    asyncio.run(body())


def test_a_host_that_begins_knows_the_latest_leaders_but_believes_no_term_that_nobody_has() -> None:
    async def body() -> None:
        bus = MemoryBus()
        assert await latest_terms(bus) == []
        for term in (3, 7):
            await bus.terms.begin_term("controller", "holder", term)
            await bus.publish(subjects.term("controller"), TermBegan(at=0, term=term, service="controller"))
        assert [(began.service, began.term) for began in await latest_terms(bus)] == [("controller", 7)]
        await bus.publish(subjects.term("controller"), TermBegan(at=0, term=10**9, service="controller"))
        await bus.publish(subjects.term("scheduler"), b"not a message")
        assert await latest_terms(bus) == []

    asyncio.run(body())
