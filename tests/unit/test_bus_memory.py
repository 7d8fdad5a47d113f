"""The bus without a server behaves as the real one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest

from headrace.bus import NEW, Entry, LogFeed, MemoryBus, Record
from headrace.bus.log import decode
from headrace.bus.memory import matches
from headrace.errors import JetStreamRefused, NatsUnreachable, NewerSchema, RemoteError, WrongRevision
from headrace_schemas import SCHEMA_VERSION, CancelAsked, GraphSource, GraphSpec, Submitted, encode, subjects

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

        async def take(data: bytes, headers: bytes) -> None:
            taken.append(data)
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


def _cancel(job: str) -> CancelAsked:
    return CancelAsked(at=0, term=1, job=job)


def test_the_log_is_decoded_what_cannot_be_read_is_skipped_and_graphs_are_fetched_in_order() -> None:
    async def body(bus: MemoryBus) -> None:
        graph = GraphSpec(name="g", n_tasks=0, shape_hash="", content_hash="", functions=[], function=[])
        await bus.objects("graphs").put("key", encode(graph))
        entries: list[Entry] = []
        feed = await LogFeed.open(bus, "headrace.job.>", entries.extend)
        submitted = Submitted(job="j", name="g", n_tasks=0, graph=GraphSource(key="key"))
        messages: list[Any] = [_cancel("a"), b"[1", b'{"kind":"nonsense"}', submitted, _cancel("b"), submitted]
        for message in messages:
            bus.publish("headrace.job.j.state", message)
        while len(entries) < 4:
            await asyncio.sleep(0)
        bus.publish("headrace.job.j.state", _cancel("c"))
        while len(entries) < 5:
            await asyncio.sleep(0)
        assert [entry.seq for entry in entries] == [1, 4, 5, 6, 7]
        graphs = [entry.message.graph for entry in entries if isinstance(entry.message, Submitted)]
        assert graphs == [GraphSource(inline=graph, key="key")] * 2
        assert feed.last_seq == 7
        await feed.close()
        assert feed.ended.done()

    _run(body)


@pytest.mark.parametrize("kind", ["cancel_asked", "of_next_year"])
def test_a_newer_schema_ends_the_feed(kind: str) -> None:
    async def body(bus: MemoryBus) -> None:
        feed = await LogFeed.open(bus, "headrace.job.>", lambda entries: None)
        data = encode(_cancel("a")).replace(b"cancel_asked", kind.encode()).replace(b'"v":1', b'"v":%d' % (SCHEMA_VERSION + 1))
        bus.publish("headrace.job.j.state", data)
        with pytest.raises(NewerSchema, match=r"message 1 of the log.* upgrade"):
            await feed.ended

    _run(body)


@pytest.mark.parametrize(
    ("data", "client", "version"),
    [
        (b"", "", None),
        (b'{"kind":"submitted","v":1,"job":"another","graph":{},"client":"me"}', "me", None),
        (b'{"kind":"ended","v":1,"at":0,"term":9,"job":"j","state":"done"}', "", None),
        (b'{"kind":"submitted","v":1,"job":"j","graph":7,"client":"me"}', "me", None),
        (b'{"kind":"submitted","v":%d,"job":"j","graph":7,"client":"me"}' % (SCHEMA_VERSION + 1), "me", SCHEMA_VERSION + 1),
        (b'{"kind":"of_next_year","v":%d,"client":1}' % (SCHEMA_VERSION + 1), "", SCHEMA_VERSION + 1),
    ],
)
def test_what_a_client_submits_ends_no_feed_and_stands_for_a_job_that_cannot_run(data: bytes, client: str, version: int | None) -> None:
    entry = decode(Record(7, 1.5, subjects.submitted("j"), data, b""))
    assert entry is not None
    assert isinstance(entry.message, Submitted)
    assert (entry.seq, entry.time, entry.message.job, entry.message.client) == (7, 1.5, "j", client)
    inline = entry.message.graph.inline
    assert (inline.v if inline is not None else None) == version


def test_a_submission_that_names_no_job_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    message = encode(Submitted(job="a$b", graph=GraphSource()))
    assert decode(Record(7, 1.5, "headrace.job.a$b.submitted", message, b"")) is None
    assert "names no job" in caplog.text


def test_a_fold_that_fails_while_a_graph_is_fetched_ends_the_feed() -> None:
    async def body(bus: MemoryBus) -> None:
        def fails(entries: list[Entry]) -> None:
            raise ZeroDivisionError

        await bus.objects("graphs").put(
            "key", encode(GraphSpec(name="g", n_tasks=0, shape_hash="", content_hash="", functions=[], function=[]))
        )
        feed = await LogFeed.open(bus, "headrace.job.>", fails)
        bus.publish("headrace.job.j.submitted", Submitted(job="j", name="g", n_tasks=0, graph=GraphSource(key="key")))
        with pytest.raises(ZeroDivisionError):
            await feed.ended

    _run(body)
