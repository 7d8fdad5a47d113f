"""The controller as a service on a real nats-server. The test plays clients, scheduler and hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from headrace.bus import Bus, EmbeddedServer, Entry, LogFeed, server
from headrace.bus.layout import stream as stream_config
from headrace.bus.nats_bus import NatsBus
from headrace.controller.replay import check
from headrace.controller.service import LEASE, NAME, run
from headrace.controller.settings import Settings
from headrace.errors import PublishRefused
from headrace_schemas import (
    SCHEMA_VERSION,
    Assign,
    Cancel,
    CancelAsked,
    Ended,
    Events,
    FunctionSpec,
    GraphSource,
    GraphSpec,
    HostEntry,
    HostJoined,
    HostLost,
    JobEntry,
    Needed,
    Plan,
    Purge,
    Release,
    Released,
    Submitted,
    TaskError,
    decoder,
    encode,
    subjects,
)
from headrace_schemas.streams import DATA_KEY, HOSTS, JOBS, LEASES, LOG, REQUESTS, SECRETS

Until = Callable[..., Any]

PAIR = GraphSpec(
    name="pair", n_tasks=2, shape_hash="0", content_hash="0", functions=[FunctionSpec(name="f", module="m", qualname="f", retries=1)],
    function=[0, 0], n_inputs=[0, 1], inputs=[0], outputs=[1], blocks=[b""],
)  # fmt: skip


class Stage:
    """The log as it grows, and short ways to write to it."""

    def __init__(self, bus: Bus, until: Until) -> None:
        self.bus = bus
        self.entries: list[Entry] = []
        self._until = until

    def of(self, kind: type[Any]) -> list[Any]:
        return [entry.message for entry in self.entries if isinstance(entry.message, kind)]

    async def seen(self, kind: type[Any], count: int = 1) -> Any:
        """Wait for so many messages of a kind; the last of them."""
        await self._until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    async def submit(self, job: str, graph: GraphSpec = PAIR) -> None:
        message = Submitted(job=job, name=graph.name, n_tasks=graph.n_tasks, graph=GraphSource(inline=graph), client="test")
        await self.bus.publish(subjects.submitted(job), message, msg_id=f"submitted.{job}")

    async def register(self, host: str, epoch: int, ttl: float = 0.0) -> None:
        entry = HostEntry(host=host, epoch=epoch, address=f"{host}:1", runners=1, capacity=1 << 30)
        await self.bus.kv(HOSTS.name).put(host, encode(entry), ttl)

    async def place(self, job: str, host: str, epoch: int, attempts: list[int] | None = None, first: int = 0) -> None:
        """Plan and assign both tasks of PAIR, each a chain, to one host."""
        chains = [first, first + 1]
        plan = Plan(at=0, term=1, job=job, planner="test", part=0, parts=1, hosts=[host], epochs=[epoch], first=0, lengths=[1, 1],
                    tasks=[0, 1], placed=[0, 0])  # fmt: skip
        assign = Assign(at=0, term=1, job=job, host=host, epoch=epoch, hosts=[host], addresses=[""], chains=chains, lengths=[1, 1],
                        tasks=[0, 1], attempts=attempts or [])  # fmt: skip
        if first == 0:
            self.bus.publish(subjects.plan(job), plan)
        await self.bus.publish(subjects.assign(job, host), assign)

    async def report(self, job: str, host: str, epoch: int, **columns: Any) -> None:
        await self.bus.publish(subjects.event(job, host), Events(job=job, host=host, epoch=epoch, **columns))

    async def entry(self, job: str) -> JobEntry | None:
        found = await self.bus.kv(JOBS.name).get(job)
        return None if found is None else decoder(JobEntry).decode(found.value)


@asynccontextmanager
async def stage(server: EmbeddedServer, bus: Bus, until: Until, settings: Settings | None = None) -> AsyncIterator[Stage]:
    """A controller that leads, and the log."""
    scene = Stage(bus, until)
    feed = await LogFeed.open(bus, subjects.LOG_SUBJECTS, scene.entries.extend)
    async with controller(server, bus, until, settings):
        yield scene
    await feed.close()


@asynccontextmanager
async def controller(server: EmbeddedServer, bus: Bus, until: Until, settings: Settings | None = None) -> AsyncIterator[asyncio.Task[None]]:
    service = asyncio.create_task(run(settings or Settings(), server.settings))
    while not (await status(bus))["leading"]:
        assert not service.done(), service.result()
    yield service
    service.cancel()
    await asyncio.gather(service, return_exceptions=True)


async def status(bus: Bus) -> dict[str, Any]:
    """What the controller says of itself; it may be starting."""
    try:
        answer = await bus.request(f"headrace.service.{NAME}.status", timeout=1.0)
    except ConnectionError:
        return {"leading": False}
    return dict(msgspec.json.decode(answer))


def test_the_log_says_again_that_a_host_at_work_joined(nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until) -> None:
    async def main() -> None:
        async with stage(nats_server, bus, until, Settings(host_told_seconds=1.0)) as scene:
            await scene.register("h0", 7)
            joined, again, more = [await scene.seen(HostJoined, count) for count in (1, 2, 3)]
            assert (joined.epoch, joined.again) == (7, False)
            assert all((each.epoch, each.address, each.again) == (7, "h0:1", True) for each in (again, more))
            assert list((await status(bus))["hosts"]) == ["h0"]

    runner.run(main())


def test_a_job_from_its_submission_to_its_last_purge(nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until) -> None:
    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.register("h0", 7)
            joined = await scene.seen(HostJoined)
            assert (joined.host, joined.epoch, joined.address) == ("h0", 7, "h0:1")
            await scene.submit("j1")
            await scene.seen(Submitted)
            await scene.place("j1", "h0", 7)
            await scene.report("j1", "h0", 7, chains=[0], produced=[0], sizes=[10])
            await scene.report("j1", "h0", 7, chains=[1], produced=[1], sizes=[20])
            ended = await scene.seen(Ended)
            assert (ended.state, ended.term) == ("done", (await status(bus))["term"])
            bus.publish(subjects.request("j1"), Release(job="j1"))
            await scene.seen(Released)
            purge = await scene.seen(Purge)
            assert (purge.host, purge.epoch, purge.datasets) == ("h0", 7, [1])
            await until(lambda: check(scene.entries) == [])
            entry = await entry_in_state(scene, "j1", "done")
            assert (entry.n_tasks, entry.n_done, entry.client, entry.name) == (2, 2, "test", "pair")
            assert entry.ended >= entry.submitted > 0

    runner.run(main())


async def entry_in_state(scene: Stage, job: str, state: str) -> JobEntry:
    async with asyncio.timeout(10):
        while (entry := await scene.entry(job)) is None or entry.state != state:
            await asyncio.sleep(0.01)
    return entry


def test_an_input_is_purged_while_the_job_runs(nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until) -> None:
    graph = msgspec.structs.replace(PAIR, outputs=[1], n_tasks=3, function=[0] * 3, n_inputs=[0, 1, 0], inputs=[0])
    graph.outputs = [1, 2]

    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.register("h0", 7)
            await scene.seen(HostJoined)
            await scene.submit("j1", graph)
            await scene.seen(Submitted)
            await scene.place("j1", "h0", 7)
            await scene.report("j1", "h0", 7, chains=[0, 1], produced=[0, 1], sizes=[10, 10])
            purge = await scene.seen(Purge)
            assert purge.datasets == [0]
            assert not scene.of(Ended)

    runner.run(main())


def test_a_bad_graph_and_a_newer_one_end_with_the_reason(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    bad = msgspec.structs.replace(PAIR, inputs=[1])
    newer = {"kind": "submitted", "v": SCHEMA_VERSION + 1, "job": "j2", "graph": {"novelty": 1}}
    odd = {"kind": "submitted", "v": SCHEMA_VERSION, "job": "j3", "graph": "elsewhere"}

    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.submit("j1", bad)
            await bus.publish(subjects.submitted("j2"), msgspec.json.encode(newer))
            await bus.publish(subjects.submitted("j3"), msgspec.json.encode(odd))
            await bus.publish(subjects.submitted("j4"), b"not json")
            await bus.publish(subjects.request("j4"), b"not json")
            await bus.publish(subjects.submitted("j6"), Submitted(job="j6", graph=GraphSource(key="gone")))
            await bus.publish("headrace.job.no$job.submitted", msgspec.json.encode(odd))
            await scene.seen(Ended, 5)
            reasons = {ended.job: (ended.state, ended.reason) for ended in scene.of(Ended)}
            assert [reasons[job][0] for job in ("j1", "j2", "j3", "j4")] == ["failed"] * 4
            assert "task 1 takes dataset 1, which no task before it makes" in reasons["j1"][1]
            assert f"schema version {SCHEMA_VERSION + 1}" in reasons["j2"][1]
            assert "Submit it again" in reasons["j3"][1]
            assert "Submit it again" in reasons["j4"][1]
            assert "object 'gone' of the store 'graphs' is missing" in reasons["j6"][1]
            await scene.submit("j5")
            await scene.seen(Submitted, 6)
            assert check(scene.entries) == []

    runner.run(main())


def test_a_job_is_cancelled_and_one_submitted_twice_is_one(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.submit("j1")
            await scene.submit("j1")
            await bus.publish(subjects.request("j1"), Cancel(job="j1", reason="enough"))
            assert (await scene.seen(CancelAsked)).reason == "enough"
            ended = await scene.seen(Ended)
            assert (ended.state, ended.reason) == ("cancelled", "enough")
            assert len(scene.of(Submitted)) == 1
            assert (await entry_in_state(scene, "j1", "cancelled")).error == "enough"

    runner.run(main())


def test_a_request_that_can_never_be_written_down_is_refused_and_does_not_come_again(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    """As written down, the long reason is larger than a message may be, though as a request it is not."""

    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.submit("j1")
            await bus.publish(subjects.request("j1"), b"{")
            await bus.publish(subjects.request("nosuch"), Cancel(job="nosuch"))
            for length in range(server._MAX_PAYLOAD, 0, -1):
                with suppress(PublishRefused):
                    await bus.publish(subjects.request("j1"), Cancel(job="j1", reason="x" * length))
                    break
            await bus.publish(subjects.request("j1"), Release(job="j1"))
            await scene.seen(Released)
            while any([await bus.last(REQUESTS.name, subjects.request(job)) for job in ("j1", "nosuch")]):
                await asyncio.sleep(0.01)
            assert (await status(bus))["requests_refused"] == {"unreadable": 1, "unknown_job": 1, "too_large": 1}
            assert scene.of(CancelAsked) == []

    runner.run(main())


def test_a_task_that_fails_is_tried_again_and_then_fails_the_job(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    def error(attempt: int) -> TaskError:
        return TaskError(task=1, attempt=attempt, name="f-1", error="ValueError: no", traceback="Traceback ...")

    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.register("h0", 7)
            await scene.seen(HostJoined)
            await scene.submit("j1")
            await scene.seen(Submitted)
            await scene.place("j1", "h0", 7)
            await scene.report("j1", "h0", 7, done=[0], produced=[0], sizes=[1], failed=[error(0)])
            needed = await scene.seen(Needed)
            assert (needed.tasks, needed.attempts) == ([1], [1])
            await scene.report("j1", "h0", 7, failed=[error(1)])
            ended = await scene.seen(Ended)
            assert (ended.state, ended.error) == ("failed", error(1))
            assert ended.reason == "task 'f-1' failed after 2 attempts: ValueError: no"

    runner.run(main())


def test_a_host_whose_lease_runs_out_is_lost_and_its_work_is_needed_again(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.register("h0", 7, ttl=1.0)
            await scene.seen(HostJoined)
            await scene.submit("j1")
            await scene.seen(Submitted)
            await scene.place("j1", "h0", 7)
            lost = await scene.seen(HostLost)
            assert (lost.host, lost.epoch) == ("h0", 7)
            needed = await scene.seen(Needed)
            assert (needed.tasks, needed.attempts) == ([0, 1], [1, 1])
            await scene.register("h0", 8)
            assert (await scene.seen(HostJoined, 2)).epoch == 8
            await scene.place("j1", "h0", 8, attempts=[1, 1], first=2)
            await scene.report("j1", "h0", 7, done=[0, 1], produced=[0, 1], sizes=[1, 1])
            await scene.report("j1", "h0", 8, chains=[2, 3], produced=[0, 1], produced_attempts=[1, 1], sizes=[1, 1])
            await scene.seen(Ended)
            from_new = max(entry.seq for entry in scene.entries if isinstance(entry.message, Events) and entry.message.epoch == 8)
            assert scene.of(Ended)[0].at >= from_new

    runner.run(main())


def test_a_restarted_controller_goes_on_where_the_last_one_was(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.register("h0", 7)
            await scene.register("h1", 8)
            await scene.seen(HostJoined, 2)
            await scene.submit("j1")
            await scene.seen(Submitted)
            await scene.place("j1", "h0", 7)
            first = (await status(bus))["term"]
        await bus.kv(HOSTS.name).delete("h1")
        await scene.report("j1", "h0", 7, chains=[0, 1], produced=[0, 1], sizes=[1, 1])
        await scene.submit("j2")
        feed = await LogFeed.open(bus, subjects.LOG_SUBJECTS, lambda entries: None)
        async with stage(nats_server, bus, until) as scene:
            ended = await scene.seen(Ended)
            assert ended.job == "j1"
            assert ended.term > first
            assert [submitted.job for submitted in scene.of(Submitted)] == ["j1", "j2"]
            lost = await scene.seen(HostLost)
            assert (lost.host, lost.epoch) == ("h1", 8)
            assert len(scene.of(HostJoined)) == 2
            assert check(scene.entries) == []
        await feed.close()

    runner.run(main())


def test_a_host_that_joins_again_while_a_term_begins_is_not_lost_before(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    async def main() -> None:
        async with stage(nats_server, bus, until) as scene:
            await scene.register("h0", 7)
            await scene.register("h1", 8)
            await scene.seen(HostJoined, 2)
        for host in ("h0", "h1"):
            await bus.kv(HOSTS.name).delete(host)
        service = asyncio.create_task(run(Settings(), nats_server.settings))
        while await bus.kv(LEASES.name).get("controller") is None:
            await asyncio.sleep(0.01)
        scene = Stage(bus, until)
        feed = await LogFeed.open(bus, subjects.LOG_SUBJECTS, scene.entries.extend)
        await scene.register("h0", 9)
        await scene.seen(HostLost)
        assert [(joined.host, joined.epoch) for joined in scene.of(HostJoined)] == [("h0", 7), ("h1", 8), ("h0", 9)]
        assert [(lost.host, lost.epoch) for lost in scene.of(HostLost)] == [("h1", 8)]
        await feed.close()
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)

    runner.run(main())


def test_who_loses_the_lease_stops_deciding_and_stands_by(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with stage(nats_server, bus, until, Settings(lease_seconds=1.0)) as scene:
            first = (await status(bus))["term"]
            usurper = await bus.kv(LEASES.name).put(LEASE, b'{"kind":"lease","v":1,"holder":"another"}')
            await until(lambda: "a lease is lost" in caplog.text)
            async with asyncio.timeout(10):
                while (await status(bus))["leading"]:
                    await asyncio.sleep(0.01)
            await scene.submit("j1", msgspec.structs.replace(PAIR, inputs=[1]))
            await scene.seen(Submitted)
            assert not (await status(bus))["leading"]
            assert scene.of(Ended) == []
            await bus.kv(LEASES.name).delete(LEASE, usurper)
            ended = await scene.seen(Ended)
            assert ended.term > usurper > first

    runner.run(main())


def test_a_full_log_does_not_end_it_and_what_it_says_is_written_once_there_is_room(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    async def main() -> None:
        assert isinstance(bus, NatsBus)
        async with controller(nats_server, bus, until) as service:
            await bus._outbox.call("STREAM.UPDATE.LOG", stream_config(LOG, replicas=1) | {"max_bytes": 1})
            entry = HostEntry(host="h0", epoch=7, address="h0:1", runners=1, capacity=1 << 30)
            await bus.kv(HOSTS.name).put("h0", encode(entry))
            await asyncio.wait({service}, timeout=1)
            assert not service.done()
            assert await bus.last(LOG.name, subjects.host("h0")) is None
            await bus._outbox.call("STREAM.UPDATE.LOG", stream_config(LOG, replicas=1))
            async with asyncio.timeout(10):
                while await bus.last(LOG.name, subjects.host("h0")) is None:
                    await asyncio.sleep(0.05)

    runner.run(main())


def test_the_secret_of_the_data_plane_is_made_once(nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until) -> None:
    async def main() -> None:
        async with stage(nats_server, bus, until):
            made = await bus.kv(SECRETS.name).get(DATA_KEY)
        async with stage(nats_server, bus, until):
            again = await bus.kv(SECRETS.name).get(DATA_KEY)
        assert made is not None
        assert made == again
        assert len(bytes.fromhex(made.value.decode())) == 32

    runner.run(main())


def test_jobs_that_are_over_are_forgotten_and_unclaimed_outputs_released(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    settings = Settings(forget_seconds=0.5, output_expiry_seconds=0.1)

    async def main() -> None:
        async with stage(nats_server, bus, until, settings) as scene:
            await scene.register("h0", 7)
            await scene.seen(HostJoined)
            await scene.submit("j1")
            await scene.seen(Submitted)
            await scene.place("j1", "h0", 7)
            await scene.report("j1", "h0", 7, chains=[0, 1], produced=[0, 1], sizes=[1, 1])
            await scene.seen(Ended)
            assert (await scene.seen(Released)).job == "j1"
            assert (await scene.seen(Purge)).datasets == [1]
            async with asyncio.timeout(10):
                while (await status(bus))["n_jobs"]:
                    await asyncio.sleep(0.02)

    runner.run(main())


def test_the_end_of_a_job_whose_values_are_in_the_log_waits_a_little(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    """Nobody waits for it, so it is put off; but not beyond the end of the controller. Nothing is kept, so the job is forgotten."""

    async def main() -> None:
        async with stage(nats_server, bus, until, Settings(linger_seconds=3600.0)) as scene:
            await scene.register("h0", 7)
            await scene.seen(HostJoined)
            await scene.submit("j1")
            await scene.seen(Submitted)
            await scene.place("j1", "h0", 7)
            await scene.report("j1", "h0", 7, chains=[0, 1], produced=[0, 1], sizes=[1, 1], value_ids=[1], values=[b"x"])
            await scene.submit("j2")
            await scene.seen(Submitted, 2)
            assert not scene.of(Ended)
        async with stage(nats_server, bus, until, Settings(forget_seconds=0.1)) as scene:
            assert (await scene.seen(Ended)).state == "done"
            async with asyncio.timeout(10):
                while (await status(bus))["n_jobs"] > 1:
                    await asyncio.sleep(0.02)
            assert check(scene.entries) == []
            assert not scene.of(Released)

    runner.run(main())


def test_an_entry_that_is_no_host_is_ignored_and_others_are_heard_of(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner, until: Until
) -> None:
    async def main() -> None:
        entry = encode(HostEntry(host="no.token", epoch=1, address="x:1", runners=1, capacity=1))
        async with stage(nats_server, bus, until) as scene:
            await bus.kv(HOSTS.name).put("no.token", entry)
            await scene.register("h1", 1)
            assert (await scene.seen(HostJoined)).host == "h1"
            await bus.kv(HOSTS.name).delete("no.token")

    runner.run(main())
