"""All readers of the log read the same entries, and an invalid message ends none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec
import pytest

from headrace.bus import NEW, Entry, LogFeed, MemoryBus, Record, graph_key, read_value
from headrace.bus.metrics import Publishing, Reading, families
from headrace.bus.reading import Reader
from headrace.errors import NewerSchema
from headrace_schemas import (
    SCHEMA_VERSION,
    Assign,
    CancelAsked,
    Events,
    GraphSource,
    GraphSpec,
    HostEntry,
    LeaseEntry,
    Message,
    Submitted,
    decoder,
    encode,
    subjects,
)
from headrace_schemas.examples import EXAMPLES, GRAPH, JOB
from headrace_schemas.limits import MAX_EXACT
from headrace_schemas.streams import GRAPHS

NEWER = SCHEMA_VERSION + 1


def run(body: Callable[[MemoryBus], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with MemoryBus() as bus:
            await body(bus)

    asyncio.run(asyncio.wait_for(main(), 10))


async def read_all(bus: MemoryBus, pattern: str = "headrace.>") -> list[Entry]:
    entries: list[Entry] = []
    feed = await LogFeed.open(bus, pattern, entries.extend)
    await asyncio.wait([waiting := asyncio.ensure_future(feed.caught_up.wait()), feed.ended], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if feed.ended.done():
        feed.ended.result()
    await feed.close()
    return entries


def publish(bus: MemoryBus, messages: Iterable[Any]) -> None:
    for message in messages:
        subject, data = message if isinstance(message, tuple) else (message.subject(), message)
        bus.publish(subject, data)


def cancel(job: str = "j", term: int = 1) -> CancelAsked:
    return CancelAsked(at=0, term=term, job=job)


def newer(message: Message, kind: str = "") -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(message), "v": NEWER, **({"kind": kind} if kind else {})})


# --- what is passed over ----------------------------------------------------------------------------------------------

EVENTS = EXAMPLES[Events]
ON = "headrace.event.k3v7mzq2ha5x.alpha"
PASSED_OVER = [
    (ON, b""),
    (ON, b"[1"),
    (ON, b'{"kind":"nonsense"}'),
    (ON, b"[" * 200_000),
    (ON, encode(EVENTS).replace(b'"chains":[0]', b'"chains":[0],"x":' + b"[" * 5_000 + b"]" * 5_000)),
    (ON, encode(EVENTS).replace(b'"done":[1]', b'"done":[-1]')),
    (ON, encode(EVENTS).replace(b'"done":[1]', b'"done":[9223372036854775808]')),
    (ON, encode(EVENTS).replace(b'"sizes":[', b'"sizes":[7,')),
    (ON, encode(cancel())),
    ("headrace.event.k3v7mzq2ha5x.beta", encode(EVENTS)),
    ("headrace.event.another.alpha", encode(EVENTS)),
    ("headrace.job.k3v7mzq2ha5x.state", encode(EVENTS)),
    (ON, newer(EVENTS)),  # type: ignore[arg-type]
    (ON, newer(EVENTS, "of_next_year")),  # type: ignore[arg-type]
    ("headrace.job.a$b.submitted", encode(Submitted(job="a$b", graph=GraphSource()))),
    ("headrace.job.a.b.submitted", encode(Submitted(job="a", graph=GraphSource()))),
]


@pytest.mark.parametrize(("subject", "data"), PASSED_OVER)
def test_what_is_no_message_of_its_subject_is_passed_over_and_counted(subject: str, data: bytes) -> None:
    async def body(bus: MemoryBus) -> None:
        publish(bus, [EVENTS, (subject, data), EVENTS])
        assert [entry.seq for entry in await read_all(bus)] == [1, 3]
        found = bus.reading.unreadable["LOG"]
        assert (found.count, found.seq, found.subject) == (1, 2, subject)
        assert found.why
        assert msgspec.json.encode(bus.reading.status())

    run(body)


def test_how_many_were_passed_over_is_in_the_metrics_by_stream_and_the_log_says_so_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    reading = Reading()
    for seq in range(1_000):
        reading.pass_over("LOG" if seq else "KV_hosts", seq, "s" * 10_000, "w" * 10_000)
    found = {family.name: family.samples for family in families(Publishing(), 0, reading, True)}
    for name, values in (("messages_total", [1, 999]), ("sequence", [0, 999])):
        samples = found[f"headrace_unreadable_{name}"]
        assert [sample.labels for sample in samples] == [{"stream": "KV_hosts"}, {"stream": "LOG"}]
        assert [sample.value for sample in samples] == values
    assert len(caplog.records) < 10
    assert len(caplog.text) < 10_000


def test_a_value_is_read_only_under_its_key() -> None:
    reading, entry = Reading(), EXAMPLES[HostEntry]
    assert isinstance(entry, HostEntry)
    read = [
        read_value(decoder(HostEntry), "hosts", Record(5, 0.0, key, data), reading)
        for key, data in [("alpha", encode(entry)), ("beta", encode(entry)), ("alpha", b"{"), ("alpha", newer(entry))]
    ]
    assert read == [entry, None, None, None]
    assert reading.unreadable["hosts"].count == 3


@pytest.mark.parametrize("address", ["", "a", "a:", "a:x", "a:65536", "a:-1", "a:1\n", ":1", "a:٣"])
def test_a_host_says_where_it_listens(address: str) -> None:
    entry = msgspec.structs.replace(EXAMPLES[HostEntry], address=address)
    assert read_value(decoder(HostEntry), "hosts", Record(5, 0.0, "alpha", encode(entry)), Reading()) is None


# --- submissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "client", "version"),
    [
        (b"", "", None),
        (b'{"kind":"submitted","v":1,"job":"another","graph":{},"client":"me"}', "me", None),
        (b'{"kind":"ended","v":1,"at":0,"term":9,"job":"j","state":"done"}', "", None),
        (b'{"kind":"submitted","v":1,"job":"j","graph":7,"client":"me"}', "me", None),
        (b'{"kind":"submitted","v":1,"job":"j","graph":{},"client":"me","x":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "", None),
        (b'{"kind":"submitted","v":%d,"job":"j","graph":7,"client":"me"}' % NEWER, "me", NEWER),
        (b'{"kind":"of_next_year","v":%d,"client":1}' % NEWER, "", NEWER),
    ],
)
def test_what_a_client_submits_ends_no_feed_and_stands_for_a_job_that_cannot_run(data: bytes, client: str, version: int | None) -> None:
    reading = Reading()
    entry = Reader(reading).read(Record(7, 1.5, subjects.submitted("j"), data))
    assert isinstance(entry, Entry)
    assert isinstance(entry.message, Submitted)
    assert (entry.seq, entry.time, entry.message.job, entry.message.client) == (7, 1.5, "j", client)
    inline = entry.message.graph.inline
    assert (inline.v if inline is not None else None) == version
    assert reading.unreadable["LOG"].count == 1


# --- graphs in the object store ---------------------------------------------------------------------------------------


def test_graphs_are_fetched_in_order_by_the_hash_of_their_bytes() -> None:
    async def body(bus: MemoryBus) -> None:
        graph = encode(GRAPH)
        key = graph_key(graph)
        await bus.objects(GRAPHS.name).put(key, graph)
        assign = msgspec.structs.replace(EXAMPLES[Assign], graph=GraphSource(key=key))
        submitted = Submitted(job=JOB, graph=GraphSource(key=key))
        publish(bus, [cancel("a"), submitted, cancel("b"), assign, cancel("c")])
        entries = await read_all(bus)
        assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
        graphs = [entry.message.graph for entry in entries if isinstance(entry.message, Submitted | Assign)]
        assert graphs == [GraphSource(inline=GRAPH, key=key)] * 2

    run(body)


def test_a_graph_in_a_message_stays_there_while_another_is_fetched() -> None:
    async def body(bus: MemoryBus) -> None:
        graph = encode(GRAPH)
        await bus.objects(GRAPHS.name).put(graph_key(graph), graph)
        whole = GraphSource(inline=GRAPH)
        publish(bus, [Submitted(job=JOB, graph=GraphSource(key=graph_key(graph))), Submitted(job="small", graph=whole)])
        entries = await read_all(bus)
        assert [entry.message.graph.inline for entry in entries if isinstance(entry.message, Submitted)] == [GRAPH, GRAPH]

    run(body)


OTHER = encode(msgspec.structs.replace(GRAPH, name="another"))
DEEP = b'{"name":' + b"[" * 5_000 + b"]" * 5_000 + b"}"


@pytest.mark.parametrize(
    ("key", "stored"),
    [(graph_key(encode(GRAPH)), OTHER), (graph_key(b"["), b"["), (graph_key(DEEP), DEEP), (JOB, encode(GRAPH)), (JOB, None)],
)
def test_a_message_whose_graph_is_not_the_one_that_was_submitted_is_passed_on_without(key: str, stored: bytes | None) -> None:
    """So its job fails, and nobody who reads it does."""

    async def body(bus: MemoryBus) -> None:
        if stored is not None:
            await bus.objects(GRAPHS.name).put(key, stored)
        assign = msgspec.structs.replace(EXAMPLES[Assign], graph=GraphSource(key=key))
        publish(bus, [Submitted(job=JOB, graph=GraphSource(key=key)), assign])
        entries = await read_all(bus)
        assert [entry.message.graph for entry in entries if isinstance(entry.message, Submitted | Assign)] == [GraphSource(key=key)] * 2

    run(body)


def test_what_the_store_says_of_an_object_may_be_anything() -> None:
    async def body(bus: MemoryBus) -> None:
        store, key = bus.objects(GRAPHS.name), "a" * 64
        for said in (b"[" * 100_000, b"{}", b'{"name":"","bucket":"","nuid":">","size":-1,"chunks":1,"digest":""}'):
            await bus.publish(store._meta(key), said)
            publish(bus, [Submitted(job=f"j{len(said)}", graph=GraphSource(key=key))])
        assert [entry.message.graph for entry in await read_all(bus) if isinstance(entry.message, Submitted)] == [GraphSource(key=key)] * 3
        await store.put(key, b"again")
        assert await store.get(key) == b"again"

    run(body)


def test_a_fold_that_fails_while_a_graph_is_fetched_ends_the_feed() -> None:
    async def body(bus: MemoryBus) -> None:
        def fails(entries: list[Entry]) -> None:
            raise ZeroDivisionError

        feed = await LogFeed.open(bus, "headrace.job.>", fails)
        publish(bus, [Submitted(job="j", graph=GraphSource(key="key"))])
        with pytest.raises(ZeroDivisionError):
            await feed.ended

    run(body)


# --- terms and newer schemas ------------------------------------------------------------------------------------------


async def lead(bus: MemoryBus, term: int = 4, service: str = "controller") -> int:
    """Be a service that leads in this term."""
    await bus.terms.begin_term(service, "me", term)
    return term


def test_a_term_that_no_service_ever_had_counts_for_nothing() -> None:
    async def body(bus: MemoryBus) -> None:
        term = await lead(bus)
        publish(bus, [cancel("a", 1), cancel("b", MAX_EXACT), cancel("c", term), cancel("d", term + 1), cancel("e", term)])
        assert [entry.seq for entry in await read_all(bus)] == [1, 3, 5]
        assert bus.reading.unreadable["LOG"].count == 2

    run(body)


def test_a_leader_that_took_over_since_is_believed() -> None:
    async def body(bus: MemoryBus) -> None:
        entries: list[Entry] = []
        feed = await LogFeed.open(bus, "headrace.>", entries.extend)
        for count in (1, 2, 3):
            publish(bus, [cancel("a", await lead(bus, count))])
            while len(entries) < count:
                await asyncio.sleep(0)
        await feed.close()
        assert not bus.reading.unreadable

    run(body)


def test_a_leader_of_before_does_not_take_the_term_back() -> None:
    async def body(bus: MemoryBus) -> None:
        for term in (2, 9, 4):
            await lead(bus, term)
        assert await bus.terms.latest("controller") == 9
        assert [term for term in range(12) if await bus.terms.check_term("controller", term)] == [1, 2, 4, 9]
        await bus.kv("leases").put("controller.term", b"[" * 5_000)
        await lead(bus, 3)
        assert await bus.terms.latest("controller") == 9, "as was seen before"

    run(body)


def test_as_long_as_nobody_has_said_in_which_term_it_leads_all_are_believed() -> None:
    async def body(bus: MemoryBus) -> None:
        publish(bus, [cancel("a", MAX_EXACT), cancel("a", 1)])
        assert len(await read_all(bus)) == 2
        publish(bus, [cancel("a", await lead(bus, 1)), cancel("a", 2)])
        assert [entry.seq for entry in await read_all(bus)] == [2, 3]

    run(body)


@pytest.mark.parametrize("entry", ["of this release", "of the next", "of the next with other fields"])
@pytest.mark.parametrize("kind", ["cancel_asked", "of_next_year"])
def test_a_newer_schema_of_a_service_that_leads_ends_the_feed(kind: str, entry: str) -> None:
    """Whoever leads in a newer release says so in an entry of its own schema."""

    async def body(bus: MemoryBus) -> None:
        before = await lead(bus, 2)
        assert await bus.terms.latest("controller") == before, "which is known here from now on"
        term = await lead(bus)
        if entry != "of this release":
            found = LeaseEntry(holder="me", terms=[before, term])
            text = newer(found) if entry == "of the next" else newer(found).replace(b'"me"', b'["me"]')
            await bus.kv("leases").put("controller.term", text)
        publish(bus, [cancel("a", term), ("headrace.job.j.state", newer(cancel("j", term), kind))])
        with pytest.raises(NewerSchema, match=r"message 2 of the log.* upgrade"):
            await read_all(bus)

    run(body)


def test_a_newer_schema_in_a_term_that_cannot_be_or_is_over_is_passed_over() -> None:
    async def body(bus: MemoryBus) -> None:
        term = await lead(bus)
        for other in (term + 1, MAX_EXACT, 10**30, 0, -1):
            publish(bus, [("headrace.job.j.state", newer(cancel(), "x").replace(b'"term":1', b'"term":%d' % other))])
        publish(bus, [cancel("j", term), ("headrace.job.j.state", newer(cancel("j", term - 1), "x")), cancel("j", term)])
        assert [entry.seq for entry in await read_all(bus)] == [6, 8]

    run(body)


def test_only_the_service_that_leads_now_ends_a_feed_that_has_caught_up() -> None:
    async def body(bus: MemoryBus) -> None:
        term = await lead(bus)
        feed = await LogFeed.open(bus, "headrace.>", lambda entries: None, from_seq=NEW)
        await feed.caught_up.wait()
        publish(bus, [("headrace.job.j.state", newer(cancel("j", term - 1)))])
        while not bus.reading.unreadable:
            await asyncio.sleep(0)
        assert not feed.ended.done()
        publish(bus, [("headrace.job.j.state", newer(cancel("j", term)))])
        with pytest.raises(NewerSchema):
            await feed.ended

    run(body)


def test_a_graph_of_a_newer_schema_is_for_validation_to_refuse() -> None:
    graph = GraphSpec(v=NEWER, name="", n_tasks=0, shape_hash="", content_hash="", functions=[], function=[])
    record = Record(1, 0.0, subjects.submitted("j"), encode(Submitted(job="j", graph=GraphSource(inline=graph))))
    assert isinstance(Reader(Reading()).read(record), Entry)
