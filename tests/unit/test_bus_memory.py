"""The bus without a server behaves as the real one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest

from headrace.bus import NEW, MemoryBus, Record
from headrace.bus.memory import matches
from headrace.errors import JetStreamRefused, NatsUnreachable, RemoteError, WrongRevision

SUBJECT = "headrace.event.job.host"


def _run(body: Callable[[MemoryBus], Coroutine[Any, Any, None]], kind: type[MemoryBus] = MemoryBus) -> None:
    async def main() -> None:
        async with kind() as bus:
            await body(bus)

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.b", "a.c", False),
    ],
)
def test_patterns(pattern: str, subject: str, expected: bool) -> None:
    assert matches(pattern, subject) is expected


def test_follow_coalesces_filters_and_catches_up() -> None:
    async def body(bus: MemoryBus) -> None:
        batches: list[list[Record]] = []
        new: list[Record] = []
        for number in range(3):
            bus.publish(SUBJECT, b"%d" % number)
        bus.publish("headrace.purge.job.host", b"other")
        feed = await bus.follow("LOG", "headrace.event.>", batches.append, from_seq=2)
        nothing = await bus.follow("LOG", "headrace.host.*", new.extend)
        only_new = await bus.follow("LOG", "headrace.>", new.extend, from_seq=NEW)
        assert not feed.caught_up.is_set()
        for one in (feed, nothing, only_new):
            await one.caught_up.wait()
        assert [[record.data for record in batch] for batch in batches] == [[b"1", b"2"]]
        assert feed.last_seq == 3
        bus.publish(SUBJECT, b"3")
        await feed.close()
        await asyncio.sleep(0)
        assert len(batches) == 1
        assert [record.seq for record in new] == [5]

    _run(body)


def test_ids_and_expected_sequences() -> None:
    async def body(bus: MemoryBus) -> None:
        assert await bus.publish(SUBJECT, b"a", msg_id="x") == await bus.publish(SUBJECT, b"a", msg_id="x") == 1
        with pytest.raises(WrongRevision):
            await bus.publish(SUBJECT, b"b", expected_last_subject_seq=0)
        assert await bus.publish(SUBJECT, b"b", expected_last_subject_seq=1) == 2
        with pytest.raises(JetStreamRefused, match="no stream takes"):
            await bus.publish("other", b"")

    _run(body)


def test_buckets_objects_and_leases() -> None:
    async def body(bus: MemoryBus) -> None:
        events: list[tuple[str, bytes | None]] = []
        hosts = bus.kv("hosts")
        await hosts.put("old", b"0")
        feed = await hosts.watch(lambda key, value, revision: events.append((key, value)))
        await feed.caught_up.wait()
        first = await hosts.create("a", b"1")
        with pytest.raises(WrongRevision):
            await hosts.create("a", b"2")
        await hosts.update("a", b"2", first)
        await hosts.delete("a")
        await hosts.create("a", b"3")
        await asyncio.sleep(0)
        assert events == [("old", b"0"), ("a", b"1"), ("a", b"2"), ("a", None), ("a", b"3")]
        assert sorted(await hosts.keys()) == ["a", "old"]
        await bus.objects("graphs").put("k", b"z" * 1_000_000)
        await bus.objects("graphs").put("k", b"y")
        assert await bus.objects("graphs").get("k") == b"y"
        one, two = bus.lease("c", "one", 5), bus.lease("c", "two", 5)
        term = await one.acquire()
        assert not await two.try_acquire()
        await one.release()
        assert await two.acquire() > term
        await two.release()

    _run(body)


def test_an_object_is_read_without_rests() -> None:
    class Noting(MemoryBus):
        pauses: ClassVar[list[float]] = []

        async def _last(self, stream: str, subject: str) -> Record | None:
            self.pauses.append(self.pace.pause)
            return await super()._last(stream, subject)

    async def body(bus: MemoryBus) -> None:
        bus.pace.rest = 0.5
        await bus.objects("graphs").put("k", b"x")
        Noting.pauses.clear()
        await bus.objects("graphs").get("k")
        with pytest.raises(JetStreamRefused, match="no object 'other'"):
            await bus.objects("graphs").get("other")
        assert Noting.pauses == [0, 0]
        assert bus.pace.pause == 0.5

    _run(body, Noting)


def test_requests_are_taken_until_done_and_services_answer() -> None:
    async def body(bus: MemoryBus) -> None:
        taken: list[bytes] = []
        done = asyncio.Event()

        async def take(record: Record) -> None:
            taken.append(record.data)
            if len(taken) == 2:
                raise RuntimeError("not now")
            if len(taken) == 4:
                done.set()

        bus.publish("headrace.request.a", b"1")
        consumption = await bus.requests("REQUESTS", "controller", take)
        bus.publish("headrace.request.b", b"2")
        bus.publish("headrace.request.c", b"3")
        await done.wait()
        assert taken == [b"1", b"2", b"3", b"2"]
        await consumption.close()

        async def answer(data: bytes) -> bytes:
            return data.upper() if data else bytes(-1)

        await bus.serve("s", "", {"e": answer})
        assert await bus.request("headrace.service.s.e", b"x") == b"X"
        with pytest.raises(RemoteError, match="ValueError"):
            await bus.request("headrace.service.s.e")
        with pytest.raises(NatsUnreachable):
            await bus.request("headrace.service.s.f")

    _run(body)
