"""Work queues, micro services, and the log with graphs from the object store, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import nats
import pytest

from headrace.bus import Bus, EmbeddedServer, Entry, LogFeed, Record, graph_key
from headrace.errors import NatsUnreachable, NoSuchJob, RemoteError
from headrace_schemas import Assign, CancelAsked, GraphSource, GraphSpec, Message, Submitted, encode
from headrace_schemas.examples import EXAMPLES

Until = Callable[..., Awaitable[None]]


def test_a_request_is_taken_in_order_and_goes_when_done(runner: asyncio.Runner, bus: Bus, until: Until) -> None:
    async def body() -> None:
        taken: list[bytes] = []

        async def take(record: Record) -> None:
            taken.append(record.data)

        futures = [bus.publish(f"headrace.request.job{number}", b"%d" % number) for number in range(50)]
        consumption = await bus.requests("REQUESTS", "controller", take)
        await until(lambda: len(taken) == 50)
        assert taken == [b"%d" % number for number in range(50)]
        await asyncio.gather(*futures)
        left: list[object] = []

        async def state() -> int:
            info = await bus._outbox.call("STREAM.INFO.REQUESTS")  # type: ignore[attr-defined]
            left.append(info)
            return info.count(b'"messages":0')

        while not await state():
            assert len(left) < 1000
        await consumption.close()

    runner.run(body())


def test_a_request_that_failed_comes_again_and_one_in_work_does_not(runner: asyncio.Runner, bus: Bus, until: Until) -> None:
    async def body() -> None:
        taken: list[bytes] = []
        hold = asyncio.Event()

        async def take(record: Record) -> None:
            data = record.data
            taken.append(data)
            if data == b"fails" and taken.count(b"fails") == 1:
                raise RuntimeError("not now")
            if data == b"slow":
                await hold.wait()

        await bus.requests("REQUESTS", "controller", take)
        bus.publish("headrace.request.a", b"slow")
        bus.publish("headrace.request.b", b"fails")
        await until(lambda: taken.count(b"fails") == 2)
        assert taken.count(b"slow") == 1
        hold.set()

    runner.run(body())


def test_what_a_consumer_left_undone_goes_to_the_next(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer, until: Until) -> None:
    async def body() -> None:
        taken: list[bytes] = []

        async def take(record: Record) -> None:
            taken.append(record.data)

        async with await Bus.connect(nats_server.settings, "first") as other:
            await (await other.requests("REQUESTS", "controller", take)).close()
        bus.publish("headrace.request.a", b"1")
        await bus.requests("REQUESTS", "controller", take)
        await until(lambda: taken == [b"1"])

    runner.run(body())


def test_a_micro_service_answers_is_found_and_reports_errors(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        async def status(data: bytes) -> bytes:
            return b"fine " + data

        async def broken(data: bytes) -> bytes:
            raise KeyError("job")

        await bus.serve("controller", "The life of a job", {"status": status, "broken": broken})
        assert await bus.request("headrace.service.controller.status", b"x") == b"fine x"
        with pytest.raises(RemoteError, match="KeyError: 'job'"):
            await bus.request("headrace.service.controller.broken")
        with pytest.raises(NatsUnreachable, match=r"nobody serves headrace\.service\.other\.status"):
            await bus.request("headrace.service.other.status")
        client = await nats.connect(nats_server.url, token=nats_server.token)
        info = await client.request("$SRV.INFO.controller", timeout=2)
        assert b"The life of a job" in info.data
        await client.close()

    runner.run(body())


def test_errors_that_are_an_answer_leave_no_traceback_in_the_log(
    runner: asyncio.Runner, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async def refuse(data: bytes) -> bytes:
            raise NoSuchJob("no job 'x'")

        async def broken(data: bytes) -> bytes:
            raise KeyError("job")

        await bus.serve("controller", "The life of a job", {"refuse": refuse, "broken": broken})
        with pytest.raises(RemoteError, match="NoSuchJob: no job 'x'"):
            await bus.request("headrace.service.controller.refuse")
        assert [record for record in caplog.records if record.exc_info] == []
        with pytest.raises(RemoteError):
            await bus.request("headrace.service.controller.broken")
        assert [record for record in caplog.records if record.exc_info] != []

    runner.run(body())


def _submitted(key: str) -> Submitted:
    return Submitted(job="job", name="n", n_tasks=1, graph=GraphSource(key=key))


def test_the_log_comes_decoded_in_order_with_every_graph_in_place(runner: asyncio.Runner, bus: Bus, until: Until) -> None:
    async def body() -> None:
        graph = GraphSpec(name="n" * 700_000, n_tasks=1, shape_hash="", content_hash="", functions=[], function=[0])
        key, gone = graph_key(encode(graph)), graph_key(b"gone")
        await bus.objects("graphs").put(key, encode(graph))
        for message in (
            CancelAsked(at=1, term=1, job="a"),
            _submitted(key),
            b"no json",
            msgspec.structs.replace(EXAMPLES[Assign], graph=GraphSource(key=gone)),
            _submitted(gone),
            CancelAsked(at=2, term=1, job="b"),
        ):
            bus.publish(message.subject() if isinstance(message, Message) else "headrace.job.job.state", message)
        await bus.flush_acks(5)
        entries: list[Entry] = []
        feed = await LogFeed.open(bus, "headrace.>", entries.extend)
        await asyncio.wait_for(feed.caught_up.wait(), 10)
        assert [entry.seq for entry in entries] == [1, 2, 4, 5, 6]
        assert isinstance(entries[1].message, Submitted)
        assert entries[1].message.graph == GraphSource(inline=graph, key=key)
        assert isinstance(entries[2].message, Assign)
        assert entries[2].message.graph == GraphSource(key=gone), "its host reports that it has no graph"
        assert isinstance(entries[3].message, Submitted)
        assert entries[3].message.graph == GraphSource(key=gone), "its job ends with the reason"
        assert feed.last_seq == 6
        await feed.close()

    runner.run(body())
