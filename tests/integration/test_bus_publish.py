"""Publishing on a real server: order, deduplication, refusals, limits that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headrace.bus import Bus, EmbeddedServer, Record
from headrace.bus.nats_bus import NatsBus
from headrace.errors import JetStreamRefused, PublishRefused, WrongRevision
from headrace_schemas import Events, subjects

Until = Callable[..., Awaitable[None]]
SUBJECT = subjects.event("job", "host")


async def _stored(bus: Bus) -> list[Record]:
    records: list[Record] = []
    feed = await bus.follow("LOG", "headrace.event.*.*", records.extend)
    await feed.caught_up.wait()
    await feed.close()
    return records


def test_messages_are_stored_in_the_order_of_the_calls(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        futures = [bus.publish(SUBJECT, b"%d" % i) for i in range(500)]
        await bus.flush_acks(10)
        assert [future.result() for future in futures] == list(range(1, 501))
        assert [record.data for record in await _stored(bus)] == [b"%d" % i for i in range(500)]

    runner.run(body())


def test_structs_are_encoded_and_pieces_of_any_size_come_back_whole(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        bus.publish(SUBJECT, Events(job="job", host="host", epoch=1, done=[1, 2]))
        sizes = [0, 1, 32_766, 32_767, 32_768, 70_000, 3_000_000, 5]
        for size in sizes:
            bus.publish(SUBJECT, b"x" * size)
        await bus.flush_acks(10)
        first, *others = await _stored(bus)
        assert b'"kind":"events"' in first.data
        assert [len(record.data) for record in others] == sizes

    runner.run(body())


def test_one_id_is_stored_once(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        first, second = bus.publish(SUBJECT, b"a", msg_id="same"), bus.publish(SUBJECT, b"a", msg_id="same")
        assert await first == await second == 1
        assert len(await _stored(bus)) == 1

    runner.run(body())


def test_a_message_that_is_too_large_is_refused_with_what_to_do(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        with pytest.raises(PublishRefused, match=r"9,000,000 bytes .* 8,388,608 .*object store"):
            await bus.publish(SUBJECT, b"x" * 9_000_000)
        assert await bus.publish(SUBJECT, b"small") == 1

    runner.run(body())


def test_another_last_sequence_than_expected_is_refused(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        assert await bus.publish(SUBJECT, b"a", expected_last_subject_seq=0) == 1
        with pytest.raises(WrongRevision):
            await bus.publish(SUBJECT, b"b", expected_last_subject_seq=0)
        assert await bus.publish(SUBJECT, b"b", expected_last_subject_seq=1) == 2

    runner.run(body())


def test_a_repeated_compare_and_set_whose_acknowledgement_was_lost_succeeds(runner: asyncio.Runner, bus: NatsBus, until: Until) -> None:
    """The server compares sequences before ids: it refuses the repetition, which is then found to be stored."""

    async def body() -> None:
        sinks, answered = bus._wire.sinks, bus._outbox._answered
        sid = next(sid for sid, sink in sinks.items() if sink == answered)
        lost: list[bytes] = []
        sinks[sid] = lambda subject, reply, data, headers: lost.append(data)
        future = bus.publish(SUBJECT, b"a", expected_last_subject_seq=0)
        await until(lambda: lost)
        sinks[sid] = answered
        bus._outbox.resend_all()
        assert await asyncio.wait_for(future, 5) == 1
        assert [record.data for record in await _stored(bus)] == [b"a"]

    runner.run(body())


def test_an_acknowledgement_that_does_not_come_leads_to_a_repetition(runner: asyncio.Runner, bus: NatsBus) -> None:
    async def body() -> None:
        send = bus._wire.send
        bus._wire.send = lambda frame: True  # type: ignore[method-assign]  # swallowed by the network
        future = bus.publish(SUBJECT, b"a")
        bus._wire.send = send  # type: ignore[method-assign]
        assert await asyncio.wait_for(future, 10) == 1

    runner.run(body())


def test_a_full_stream_refuses_and_says_so(runner: asyncio.Runner, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        bus = await NatsBus.open(nats_server.settings, "test")
        async with bus:
            config = {"name": "LOG", "subjects": subjects.LOG_SUBJECTS, "max_bytes": 10_000, "discard": "new", "storage": "file"}
            await bus._outbox.call("STREAM.CREATE.LOG", config)
            await bus.ensure_streams()  # keeps what is there
            futures = [bus.publish(SUBJECT, b"x" * 1000) for _ in range(20)]
            results = await asyncio.gather(*futures, return_exceptions=True)
            stored = [result for result in results if isinstance(result, int)]
            refused = [result for result in results if isinstance(result, PublishRefused)]
            assert 5 < len(stored) < 10
            assert len(stored) + len(refused) == 20
            assert "full" in str(refused[0])
            assert "raise its limits" in str(refused[0])

    runner.run(body())


def test_a_payload_limit_of_an_unchanged_server_is_named(runner: asyncio.Runner, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        async with await NatsBus.open(nats_server.settings, "test") as bus:
            bus._wire._max_payload = 1 << 20  # what an unchanged server says at connecting
            with pytest.raises(PublishRefused, match=r"1,048,576 bytes.*max_payload"):
                await bus.publish(SUBJECT, b"x" * (1 << 20))

    runner.run(body())


def test_following_a_stream_that_does_not_exist_is_refused(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        with pytest.raises(JetStreamRefused, match="stream not found"):
            await bus.follow("NOWHERE", "a.b", lambda records: None)

    runner.run(body())


def test_a_subject_cannot_break_out_of_its_frame(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        for subject in ("a b", "a\r\nPUB x 0", ""):
            with pytest.raises(ValueError, match="cannot be a subject"):
                bus.publish(subject, b"")
        with pytest.raises(ValueError, match="cannot be the value"):
            bus.publish(SUBJECT, b"", msg_id="a\r\nb")

    runner.run(body())
