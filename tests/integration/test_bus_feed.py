"""Feeds on a real server: complete, in order, and open again after whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import msgspec
import pytest

from headrace.bus import NEW, Bus, EmbeddedServer, Record
from headrace.bus.feed import NatsFeed
from headrace.bus.nats_bus import NatsBus
from headrace.bus.settings import TIMES

Until = Callable[..., Awaitable[None]]
SUBJECT = "headrace.event.job.host"


async def _publish(bus: Bus, count: int, subject: str = SUBJECT) -> None:
    for number in range(count):
        bus.publish(subject, b"%d" % number)
    await bus.flush_acks(10)


def test_a_feed_of_an_empty_stream_has_caught_up(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        feed = await bus.follow("LOG", "headrace.>", lambda records: None)
        await asyncio.wait_for(feed.caught_up.wait(), 0.5)
        assert feed.last_seq == 0

    runner.run(body())


@pytest.mark.parametrize("from_seq", [1, 60, 101, 500, NEW])
def test_a_feed_that_matches_nothing_has_caught_up(runner: asyncio.Runner, bus: Bus, from_seq: int) -> None:
    async def body() -> None:
        await _publish(bus, 100)
        feed = await bus.follow("LOG", ["headrace.job.other.>", "headrace.host.*"], lambda records: None, from_seq=from_seq)
        await asyncio.wait_for(feed.caught_up.wait(), 0.5)

    runner.run(body())


def test_caught_up_comes_after_what_was_there_and_records_are_coalesced(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        await _publish(bus, 1000)
        batches: list[list[Record]] = []
        feed = await bus.follow("LOG", SUBJECT, batches.append)
        await asyncio.wait_for(feed.caught_up.wait(), 5)
        records = [record for batch in batches for record in batch]
        assert [record.seq for record in records] == list(range(1, 1001))
        assert [record.data for record in records] == [b"%d" % number for number in range(1000)]
        assert {record.subject for record in records} == {SUBJECT}
        assert abs(records[0].time - records[-1].time) < 10
        assert len(batches) < 200
        assert feed.last_seq == 1000

    runner.run(body())


def test_from_a_sequence_on_and_only_new_ones(runner: asyncio.Runner, bus: Bus, until: Until) -> None:
    async def body() -> None:
        await _publish(bus, 10)
        late: list[Record] = []
        new: list[Record] = []
        await bus.follow("LOG", "headrace.event.*.*", late.extend, from_seq=8)
        feed = await bus.follow("LOG", "headrace.event.*.*", new.extend, from_seq=NEW)
        assert feed.last_seq == 10
        await _publish(bus, 2)
        await until(lambda: len(late) == 5 and len(new) == 2)
        assert [record.seq for record in late] == [8, 9, 10, 11, 12]
        assert [record.seq for record in new] == [11, 12]

    runner.run(body())


def test_a_lost_message_opens_the_feed_again_where_it_was(runner: asyncio.Runner, bus: NatsBus, until: Until) -> None:
    async def body() -> None:
        records: list[Record] = []
        feed = await bus.follow("LOG", SUBJECT, records.extend)
        sinks = bus._wire.sinks
        deaf = next(sid for sid, sink in sinks.items() if getattr(sink, "__self__", None) is feed)
        sink, dropped = sinks[deaf], []

        def lossy(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
            if data in (b"3", b"4", b"99") and data not in dropped:
                dropped.append(data)
            else:
                sink(subject, reply, data, headers)

        sinks[deaf] = lossy
        await _publish(bus, 100)
        await until(lambda: len(records) == 100)
        assert [record.data for record in records] == [b"%d" % number for number in range(100)]
        assert b"3" in dropped

    runner.run(body())


def test_the_last_message_of_all_being_lost_is_seen_by_the_heartbeat(runner: asyncio.Runner, bus: NatsBus, until: Until) -> None:
    async def body() -> None:
        records: list[Record] = []
        feed = await bus.follow("LOG", SUBJECT, records.extend)
        sinks = bus._wire.sinks
        deaf = next(sid for sid, sink in sinks.items() if getattr(sink, "__self__", None) is feed)
        sink = sinks[deaf]
        sinks[deaf] = lambda subject, reply, data, headers: None if data == b"2" else sink(subject, reply, data, headers)
        await _publish(bus, 3)
        await until(lambda: len(records) == 3)
        assert [record.seq for record in records] == [1, 2, 3]

    runner.run(body())


def test_a_consumer_that_vanished_is_noticed_by_its_silence(runner: asyncio.Runner, bus: NatsBus, until: Until) -> None:
    async def body() -> None:
        records: list[Record] = []
        feed = await bus.follow("LOG", SUBJECT, records.extend)
        await _publish(bus, 1)
        await bus._outbox.call(f"CONSUMER.DELETE.LOG.{feed._id}-{feed._generation}")  # type: ignore[attr-defined]
        await _publish(bus, 1)
        await until(lambda: len(records) == 2)
        assert [record.seq for record in records] == [1, 2]

    runner.run(body())


def test_a_connection_that_rests_reads_together_what_came_meanwhile_unless_it_is_in_a_hurry(
    runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until
) -> None:
    async def body() -> None:
        batches: list[list[bytes]] = []
        async with await Bus.connect(nats_server.settings, "reader") as reader:
            await reader.follow("LOG", SUBJECT, lambda records: batches.append([record.data for record in records]))
            reader.pace.rest = 1.0
            await _publish(bus, 1)
            await until(lambda: batches == [[b"0"]])
            reader.pace.hurry()  # from the next read on
            for _ in range(9):
                await _publish(bus, 1)
            await until(lambda: sum(map(len, batches)) == 10)
            assert len(batches) < 5, "they were read as they came"
            reader.pace.rest = 3600.0
            for number in range(3):
                await _publish(bus, 1)
                await until(lambda number=number: sum(map(len, batches)) == 11 + number)
            reader.pace.calm()
            await _publish(bus, 1)
            await until(lambda: sum(map(len, batches)) == 14)
            await _publish(bus, 1)  # and it is closed while it rests
        assert sum(map(len, batches)) == 14

    runner.run(body())


def test_a_connection_that_rests_comes_back(runner: asyncio.Runner, nats_server: EmbeddedServer, until: Until) -> None:
    async def body() -> None:
        records: list[Record] = []
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        async with await Bus.connect(nats_server.settings, "reader") as reader:
            await reader.ensure_streams()
            await reader.follow("LOG", SUBJECT, records.extend)
            reader.pace.rest = 0.5
            await _publish(reader, 1)
            nats_server.stop()
            await until(lambda: not reader.connected)
            nats_server.start()
            await _publish(reader, 1)
            await until(lambda: [record.seq for record in records] == [1, 2])
        assert not errors

    runner.run(body())


def test_what_reads_a_feed_and_fails_ends_it(runner: asyncio.Runner, bus: Bus, until: Until) -> None:
    async def body() -> None:
        seen: list[Record] = []

        def fails(records: list[Record]) -> None:
            raise ZeroDivisionError("in the fold")

        feed = await bus.follow("LOG", SUBJECT, fails)
        await bus.follow("LOG", SUBJECT, seen.extend)
        await _publish(bus, 1)
        with pytest.raises(ZeroDivisionError, match="in the fold"):
            await asyncio.wait_for(feed.ended, 5)
        await _publish(bus, 1)
        await until(lambda: len(seen) == 2)  # the connection and other feeds go on

    runner.run(body())


def test_a_closed_feed_is_silent(runner: asyncio.Runner, bus: Bus, until: Until) -> None:
    async def body() -> None:
        closed: list[Record] = []
        other: list[Record] = []
        feed = await bus.follow("LOG", SUBJECT, closed.extend)
        await bus.follow("LOG", SUBJECT, other.extend)
        await feed.close()
        await _publish(bus, 5)
        await until(lambda: len(other) == 5)
        assert closed == []
        assert feed.ended.done()

    runner.run(body())


def test_flow_control_is_answered(runner: asyncio.Runner, bus: Bus) -> None:
    """64 MB through one feed: the server stops after some, until it is told to go on."""

    async def body() -> None:
        received = 0

        def count(records: list[Record]) -> None:
            nonlocal received
            received += sum(len(record.data) for record in records)

        for _ in range(64):
            bus.publish(SUBJECT, b"x" * 1_000_000)
        await bus.flush_acks(30)
        feed = await bus.follow("LOG", SUBJECT, count)
        await asyncio.wait_for(feed.caught_up.wait(), 20)
        assert received == 64_000_000

    runner.run(body())


def test_a_feed_that_is_far_behind_reads_the_whole_stream_without_a_filter_and_passes_on_its_own_subjects(
    runner: asyncio.Runner, bus: NatsBus, until: Until
) -> None:
    """A consumer with filters that has fallen behind costs the server a search through all subjects for each message."""

    async def filters(feed: NatsFeed) -> list[str]:
        name = f"{feed._id}-{feed._generation}"
        answer = msgspec.json.decode(await bus._outbox.call(f"CONSUMER.INFO.LOG.{name}"))
        return [*answer["config"].get("filter_subjects", []), *filter(None, [answer["config"].get("filter_subject")])]

    async def body() -> None:
        for number in range(1200):  # more than the server sends before it hears of the feed again
            bus.publish(f"headrace.event.job-{number}.host", b"%8192d" % number)
        for number in range(400):
            bus.publish(f"headrace.plan.job-{number}", b"another")
        await bus.flush_acks(30)
        wide: list[Record] = []
        narrow: list[Record] = []
        subjects = ["headrace.event.*.host", "headrace.job.>"]
        feed = await bus.follow("LOG", subjects, wide.extend, whole=True)
        other = await bus.follow("LOG", subjects, narrow.extend)
        assert isinstance(feed, NatsFeed)
        assert isinstance(other, NatsFeed)
        await asyncio.wait_for(asyncio.gather(feed.caught_up.wait(), other.caught_up.wait()), 10)
        await until(lambda: len(wide) == len(narrow) == 1200)
        assert [int(record.data) for record in wide] == [int(record.data) for record in narrow] == list(range(1200))
        assert await filters(other) == subjects
        assert bus.reading.passed_over == 400, "it read everything"
        assert bus.reading.reopened == 0, "that is not for want of messages"
        await until(lambda: feed._creating is None and not feed._reach.whole)  # it is at the end, and its own subjects will do
        await _publish(bus, 2, "headrace.event.late.host")
        await until(lambda: len(wide) == 1202)
        assert bus.reading.passed_over == 400
        assert await filters(feed) == subjects

    runner.run(body())


def test_a_feed_that_hears_nothing_is_opened_again_later_each_time(runner: asyncio.Runner, bus: NatsBus) -> None:
    """What a server that is overloaded cannot do is not asked of it again and again."""

    async def body() -> None:
        feed = await bus.follow("LOG", SUBJECT, lambda records: None)
        assert isinstance(feed, NatsFeed)
        bus._timer.cancel()
        opened: list[int] = []
        for tick in range(400):
            before = feed._generation
            if feed._creating is not None:
                await feed._creating
            feed._silent = max(feed._silent, 0)
            feed.tick()
            if feed._generation != before:
                opened.append(tick)
        pauses = [later - earlier for earlier, later in pairwise(opened)]
        assert pauses == sorted(pauses)
        assert pauses[-1] > 2 * pauses[0]  # doubled twice, and each spread by up to a half
        assert bus.reading.reopened == len(opened)

    runner.run(body())


def test_a_feed_whose_consumer_is_not_made_asks_for_another(runner: asyncio.Runner, bus: NatsBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cluster that gave it to a server which has just died: the wish is not answered until that one is back."""

    async def body() -> None:
        records: list[Record] = []
        feed = await bus.follow("LOG", SUBJECT, records.extend)
        assert isinstance(feed, NatsFeed)
        bus._timer.cancel()
        start_call = bus._outbox.start_call
        monkeypatch.setattr(bus._outbox, "start_call", lambda api, request: asyncio.get_running_loop().create_future())
        feed.reopen()
        monkeypatch.setattr(bus._outbox, "start_call", start_call)
        await bus.publish(SUBJECT, b"1")
        generation = feed._generation
        ticks = 0
        while feed._generation == generation:
            feed.tick()
            ticks += 1
        assert ticks * TIMES.tick_seconds <= TIMES.create_seconds + 1
        async with asyncio.timeout(20):
            while not records:
                await asyncio.sleep(0.01)

    runner.run(body())
