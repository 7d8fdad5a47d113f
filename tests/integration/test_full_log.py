"""A log that fills up: no job hangs, no job is admitted that would, and the cluster recovers by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings, EmbeddedServer
from headrace.bus.nats_bus import NatsBus
from headrace.controller.remnants import find_remnants
from headrace.controller.room import Remnant, Room
from headrace.controller.roomkeeper import RoomKeeper
from headrace.errors import JetStreamRefused, PublishRefused
from headrace.ledger import JobLedger
from headrace.usage import Usage
from headrace_schemas import Ended, FunctionSpec, GraphSource, GraphSpec, JobEntry, Released, Submitted, encode, subjects
from tests.waiting import eventually

Until = Callable[..., Awaitable[None]]
WAIT = 60.0
KB = 1000


async def limited(bus: Bus, max_bytes: int) -> None:
    """Have the log hold so many bytes at most."""
    assert isinstance(bus, NatsBus)
    config = msgspec.json.decode(await bus._outbox.call("STREAM.INFO.LOG"))["config"]
    await bus._outbox.call("STREAM.UPDATE.LOG", config | {"max_bytes": max_bytes})


async def stored(bus: Bus, subject: str) -> bool:
    return await bus.last("LOG", subject) is not None


# --- the bus ---------------------------------------------------------------------------------------------------------------


def test_a_service_waits_for_room_and_a_client_is_refused(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        await limited(bus, 100 * KB)
        async with await Bus.connect(nats_server.settings, "client") as client:
            bus.wait_for_room()
            await bus.publish(subjects.event("a", "h"), bytes(90 * KB))
            waiting = [bus.publish(subjects.event("b", "h"), b"%d" % number + bytes(20 * KB)) for number in range(3)]
            with pytest.raises(PublishRefused, match="the stream is full"):
                await client.publish(subjects.submitted("c"), bytes(20 * KB))
            assert not any(future.done() for future in waiting)
            await bus.purge("LOG", subjects.event("a", "h"))
            bus.send_again()
            async with asyncio.timeout(5):
                seqs = await asyncio.gather(*waiting)
            assert seqs == sorted(seqs)

    runner.run(body())


def test_how_full_a_stream_is(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        await limited(bus, 100 * KB)
        await bus.publish(subjects.event("a", "h"), bytes(50 * KB))
        usage = await bus.usage("LOG")
        assert 0.5 < usage.share < 0.51
        assert (usage.limit, usage.messages) == (100 * KB, 1)
        assert (await bus.usage("KV_jobs")).limit == 64 << 20
        with pytest.raises(JetStreamRefused):
            await bus.usage("NONE")

    runner.run(body())


def test_a_log_of_an_older_release_takes_new_subjects_and_keeps_its_limits(runner: asyncio.Runner, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        async with await Bus.connect(nats_server.settings, "test") as bus:
            assert isinstance(bus, NatsBus)
            config = {"name": "LOG", "subjects": subjects.LOG_SUBJECTS, "max_bytes": 123 * KB, "discard": "new", "storage": "file"}
            await bus._outbox.call("STREAM.CREATE.LOG", config)
            await bus.ensure_streams()
            await bus.publish(subjects.RESERVE, b"")
            assert (await bus.usage("LOG")).limit == 123 * KB

    runner.run(body())


# --- the controller's looks -------------------------------------------------------------------------------------------------


def ended_job(name: str, state: Any = "failed") -> JobLedger:
    spec = GraphSpec(name="g", n_tasks=0, shape_hash="", content_hash="", functions=[], function=[])
    job = JobLedger(Submitted(job=name, name="g", n_tasks=0, graph=GraphSource(inline=spec)), 0.0)
    job.end = Ended(at=1, term=1, job=name, state=state)
    job.ended_at = time.time() - 1000
    return job


async def write(bus: Bus, job: str, size: int) -> None:
    """Everything that may be in the log of a job."""
    for subject in [*subjects.bulk_of(job), *subjects.outputs_of(job), subjects.submitted(job), subjects.state(job), subjects.needed(job)]:
        await bus.publish(subject.replace("*", "h"), bytes(size))
    await bus.kv("jobs").put(job, b"{}")


def test_what_is_over_is_removed_and_everything_else_stays(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        for name in ("old", "other"):
            await write(bus, name, 10 * KB)
        await bus.publish(subjects.host("old"), b"a host may be called as a job is")
        await limited(bus, 250 * KB)
        room = Room(3600.0)
        room.forgotten(ended_job("old"))
        keeper = RoomKeeper(bus, room, list, lambda job, usage: None, int)
        await keeper.check()
        assert 0.35 < (await bus.usage("LOG")).share < 0.4
        assert await stored(bus, subjects.host("old"))
        assert not await stored(bus, subjects.state("old"))
        assert await stored(bus, subjects.state("other"))
        assert await stored(bus, subjects.event("other", "h"))
        assert await bus.kv("jobs").keys() == ["other"]

    runner.run(body())


def test_jobs_that_a_controller_does_not_remember_are_looked_up(runner: asyncio.Runner, bus: Bus) -> None:
    spec = GraphSpec(
        name="g", n_tasks=1, shape_hash="", content_hash="", functions=[FunctionSpec(name="f", module="m", qualname="f")], function=[0],
        n_inputs=[0], outputs=[0], blocks=[b""],
    )  # fmt: skip

    async def body() -> None:
        for number, (name, state) in enumerate([("released", "done"), ("values", "done"), ("failed", "failed"), ("going-on", "running")]):
            await bus.publish(subjects.submitted(name), Submitted(job=name, graph=GraphSource(inline=spec)))
            ended = 0.0 if state == "running" else 1_000.0 + number
            await bus.kv("jobs").put(name, encode(JobEntry(job=name, name="g", state=state, n_tasks=1, ended=ended)))
            await bus.publish(subjects.event(name, "h"), bytes(10 * KB))
        for name in ("released", "values"):
            await bus.publish(subjects.state(name), Ended(at=1, term=1, job=name, state="done"))
        await bus.publish(subjects.state("released"), Released(at=2, term=1, job="released"))
        assert await find_remnants(bus, {"failed"}, 10) == (
            [Remnant("released", 1000.0, False), Remnant("values", 1001.0, True)],
            True,
        )
        await limited(bus, 60 * KB)
        keeper = RoomKeeper(bus, Room(10 * time.time()), list, lambda job, usage: None, int)
        await keeper.check()
        assert sorted(await bus.kv("jobs").keys()) == ["going-on", "values"]

    runner.run(body())


def test_a_full_log_has_a_reserve_for_the_ends_of_jobs(runner: asyncio.Runner, bus: Bus, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        await limited(bus, 640 * KB)
        jobs = [ended_job("failed"), ended_job("under-way")]
        jobs[1].end = None
        asked: list[tuple[str, Usage]] = []
        room = Room(3600.0)
        keeper = RoomKeeper(bus, room, lambda: jobs, lambda job, usage: asked.append((job, usage)), int)
        await keeper.check()
        assert await stored(bus, subjects.RESERVE)
        await write(bus, "failed", 5 * KB)
        async with await Bus.connect(nats_server.settings, "others") as others:
            others.wait_for_room()
            for size in (100 * KB, KB, 10):
                while True:
                    future = others.publish(subjects.event("under-way", "h"), bytes(size))
                    await asyncio.wait([future], timeout=0.1)
                    if not future.done():
                        future.cancel()
                        break
        with pytest.raises(PublishRefused, match="full"):
            await bus.publish(subjects.state("under-way"), bytes(500))
        await keeper.check()
        assert [job for job, _ in asked] == ["under-way"]
        await bus.publish(subjects.state("under-way"), bytes(500))
        assert not await stored(bus, subjects.event("failed", "h"))
        assert await stored(bus, subjects.state("failed"))

    runner.run(body())


# --- a whole cluster --------------------------------------------------------------------------------------------------------


class Scene:
    """A local cluster, and a bus of one's own to its server."""

    def __init__(self, cluster: hr.Cluster, runner: asyncio.Runner, bus: Bus) -> None:
        self.cluster, self.runner, self.bus = cluster, runner, bus

    def limit(self, max_bytes: int) -> None:
        self.runner.run(limited(self.bus, max_bytes))

    def used(self) -> int:
        return self.runner.run(self.bus.usage("LOG")).bytes

    def stored(self, subject: str) -> bool:
        return self.runner.run(stored(self.bus, subject))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.runner.run(self.bus.request("headrace.service.headrace-controller.status")))
        return found


@contextmanager
def scene(runner: asyncio.Runner) -> Iterator[Scene]:
    with hr.Cluster.local(hosts=1) as cluster:
        bus = runner.run(Bus.connect(BusSettings(url=cluster.url, token=cluster.token), "test"))
        try:
            yield Scene(cluster, runner, bus)
        finally:
            runner.run(bus.close())


def inc(number: int) -> int:
    return number + 1


def slow(seconds: float) -> hr.Graph:
    graph = hr.Graph("slow")
    graph.add(time.sleep, seconds, name="slow")
    return graph


def flat(tasks: int) -> hr.Graph:
    graph = hr.Graph("flat")
    for number in range(tasks):
        graph.add(inc, number)
    return graph


def test_above_80_percent_no_job_is_admitted_until_there_is_room(runner: asyncio.Runner) -> None:
    with scene(runner) as there:
        job = there.cluster.submit(flat(3000))
        job.results(WAIT)  # which come before all of the job is in the log: its state is the last
        eventually(lambda: there.stored(subjects.RESERVE) and there.stored(subjects.state(job.id)))
        there.limit(round(there.used() / 0.85))
        eventually(lambda: not there.status()["admits"])
        refused = r"the log is full \(.* MB\): no new job is admitted above 80%. .*raise the limit"
        with pytest.raises(hr.JobFailed, match=refused):  # by the controller
            there.cluster.submit(slow(60.0)).results(WAIT)
        with hr.Cluster.connect(there.cluster.url, token=there.cluster.token) as client:
            with pytest.raises(hr.JobFailed, match=refused):
                client.submit(flat(1))
            with pytest.raises(hr.JobFailed, match=refused):
                client.compute(hr.Graph("one").add(inc, 1))
            assert len(there.cluster.jobs()) == 2, "the client asks first"
        assert there.cluster.status().admits is False
        assert there.cluster.status().streams["LOG"].share > 0.8
        there.limit(1 << 30)
        eventually(lambda: there.status()["admits"])
        assert there.cluster.submit(flat(1)).results(WAIT) == {"inc-0": 1}


def test_a_job_that_fills_the_log_ends_with_that_as_the_reason_and_the_cluster_goes_on(runner: asyncio.Runner) -> None:
    with scene(runner) as there:
        there.cluster.submit(flat(1)).results(WAIT)
        eventually(lambda: there.status()["streams"])
        there.limit(there.used() + 300 * KB)
        with pytest.raises(hr.JobFailed, match=r"the log is full .*the job could not continue"):
            there.cluster.submit(flat(50_000)).results(WAIT)
        eventually(lambda: there.status()["admits"])
        assert there.cluster.submit(flat(1)).results(WAIT) == {"inc-0": 1}
        assert there.cluster.hosts == ["host-0"]


def test_messages_of_before_the_limit_was_set_do_not_hold_up_the_end(runner: asyncio.Runner) -> None:
    """The limit is below what the log holds already: everything is refused from one moment to the next."""
    with scene(runner) as there:
        there.cluster.submit(flat(5000)).results(WAIT)
        job = there.cluster.submit(slow(1.0))
        eventually(lambda: job.status().tasks["started"])
        there.limit(there.used() + 100)
        with pytest.raises(hr.JobFailed, match="the log is full"):
            job.results(WAIT)
