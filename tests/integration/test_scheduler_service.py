"""The scheduler service on a real NATS server; the test writes what controller and hosts would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from headrace.bus import Bus, EmbeddedServer, Entry, LogFeed, graph_key
from headrace.scheduler.service import run
from headrace.scheduler.settings import Settings
from headrace_schemas import (
    Assign,
    Ended,
    Events,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    LogMessage,
    Plan,
    Submitted,
    encode,
    subjects,
)
from headrace_schemas.streams import GRAPHS, LOG
from tests.scheduler_graphs import flat, parallel_chains, tree

SMALL = Settings(window_tasks=8, window_tasks_per_runner=1, chain_tasks=4, message_integers=50, lease_seconds=1.0)


class PaperHosts:
    """Two hosts that exist on paper, and all that is in the log."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.entries: list[Entry] = []

    async def open(self) -> None:
        await LogFeed.open(self.bus, subjects.LOG_SUBJECTS, self.entries.extend)
        for host in ("a", "b"):
            joined = HostJoined(at=0, term=1, host=host, epoch=7, address=f"{host}:1", runners=1, capacity=1)
            await self.bus.publish(subjects.host(host), joined)

    async def admit(self, spec: GraphSpec, job: str = "j", key: str = "") -> None:
        graph = GraphSource(key=key) if key else GraphSource(inline=spec)
        await self.bus.publish(subjects.submitted(job), Submitted(job=job, name="n", n_tasks=spec.n_tasks, graph=graph))

    async def done(self, assigns: Iterable[Assign]) -> None:
        for assign in assigns:
            events = Events(job=assign.job, host=assign.host, epoch=assign.epoch, chains=assign.chains, produced=assign.tasks)
            await self.bus.publish(subjects.event(assign.job, assign.host), events)

    def all(self, kind: type[LogMessage]) -> list[Any]:
        return [entry.message for entry in self.entries if isinstance(entry.message, kind)]

    def assigned(self) -> list[int]:
        return sorted(task for assign in self.all(Assign) for task in assign.tasks)


@asynccontextmanager
async def scheduler(server: EmbeddedServer, settings: Settings = SMALL) -> Any:
    service = asyncio.ensure_future(run(settings, server.settings))
    try:
        yield service
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


def test_it_plans_assigns_and_refills(bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]) -> None:
    async def scene() -> None:
        hosts = PaperHosts(bus)
        await hosts.open()
        async with scheduler(nats_server):
            spec = tree(32)
            await hosts.admit(spec)
            told = 0
            while len(hosts.assigned()) < spec.n_tasks:
                await until(lambda: len(hosts.all(Assign)) > told)  # noqa: B023
                fresh = hosts.all(Assign)[told:]
                told += len(fresh)
                await hosts.done(fresh)
            assert hosts.assigned() == list(range(spec.n_tasks))
            plans = hosts.all(Plan)
            assert [plan.part for plan in plans] == list(range(plans[0].parts))
            assert sorted(task for plan in plans for task in plan.tasks) == list(range(spec.n_tasks))
            assert {assign.host for assign in hosts.all(Assign)} == {"a", "b"}
            status = msgspec.json.decode(await bus.request("headrace.service.headrace-scheduler.status"))
            assert status["leading"]
            assert status["term"] == plans[0].term
            assert list(status["jobs"]) == ["j"]
            await bus.publish(subjects.state("j"), Ended(at=1, term=1, job="j", state="done"))
            await until(lambda: len(hosts.all(Ended)) == 1)
            while msgspec.json.decode(await bus.request("headrace.service.headrace-scheduler.status"))["jobs"]:
                await asyncio.sleep(0.005)

    runner.run(asyncio.wait_for(scene(), 30))


def test_the_next_one_goes_on_where_the_last_one_stopped(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    """The first is stopped when its windows are out; the second neither plans again nor assigns anything twice."""

    async def scene() -> None:
        hosts = PaperHosts(bus)
        await hosts.open()
        spec = parallel_chains(20, 4)
        async with scheduler(nats_server):
            await hosts.admit(spec)
            await until(lambda: len(hosts.assigned()) == 16)
        await hosts.done(hosts.all(Assign))
        seen = len(hosts.all(Assign))
        async with scheduler(nats_server):
            await until(lambda: len(hosts.assigned()) == 32)
            assert {assign.host for assign in hosts.all(Assign)[seen:] if assign.graph is not None} == {"a", "b"}
        assert len(set(hosts.assigned())) == 32
        terms = [message.term for message in [*hosts.all(Plan), *hosts.all(Assign)]]
        assert len(set(terms)) == 2
        assert len({plan.term for plan in hosts.all(Plan)}) == 1

    runner.run(asyncio.wait_for(scene(), 30))


def test_one_leads_and_another_stands_by(bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]) -> None:
    async def scene() -> None:
        hosts = PaperHosts(bus)
        await hosts.open()
        async with scheduler(nats_server) as first:
            await hosts.admit(flat(1), "one")
            await until(lambda: hosts.all(Assign))
            async with scheduler(nats_server):
                await hosts.admit(flat(1), "two")
                await until(lambda: len(hosts.all(Assign)) == 2)
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
                await hosts.admit(flat(1), "three")
                await until(lambda: len(hosts.all(Assign)) == 3)
        one, two, three = (assign.term for assign in hosts.all(Assign))
        assert one == two < three

    runner.run(asyncio.wait_for(scene(), 30))


def test_a_large_graph_is_planned_from_the_object_store(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    async def scene() -> None:
        hosts = PaperHosts(bus)
        await hosts.open()
        spec = flat(60_000)
        big = graph_key(encode(spec))
        await bus.objects(GRAPHS.name).put(big, encode(spec))
        async with scheduler(nats_server, Settings()):
            await hosts.admit(spec, key=big)
            await until(lambda: len(hosts.assigned()) == 2 * Settings().window_tasks)
        assert {assign.graph.key for assign in hosts.all(Assign) if assign.graph is not None} == {big}

        def inline(records: list[Any]) -> None:
            large.extend(len(record.data) for record in records)

        large: list[int] = []
        feed = await bus.follow(LOG.name, subjects.assign("j", "a"), inline)
        await feed.caught_up.wait()
        assert max(large) < 300_000

    runner.run(asyncio.wait_for(scene(), 30))


def test_a_lost_host_leaves_its_unreleased_work_to_the_other(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    async def scene() -> None:
        hosts = PaperHosts(bus)
        await hosts.open()
        async with scheduler(nats_server):
            await hosts.admit(flat(40))
            await until(lambda: len(hosts.assigned()) == 16)
            await bus.publish(subjects.host("b"), HostLost(at=0, term=1, host="b", epoch=7))
            told = 0
            while len(hosts.assigned()) < 40:
                fresh = hosts.all(Assign)[told:]
                told += len(fresh)
                await hosts.done([assign for assign in fresh if assign.host == "a"])
                await until(lambda: len(hosts.all(Assign)) > told)  # noqa: B023
        tail = [assign for assign in hosts.all(Assign) if assign.host == "a"]
        assert sum(len(assign.tasks) for assign in tail) == 32

    runner.run(asyncio.wait_for(scene(), 30))


def test_single_tasks_are_assigned_at_once(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    async def scene() -> None:
        hosts = PaperHosts(bus)
        await hosts.open()
        async with scheduler(nats_server):
            count = 300
            for number in range(count):
                await hosts.admit(flat(1), f"job{number}")
            await until(lambda: len(hosts.all(Assign)) == count)
        hosts = [assign.host for assign in hosts.all(Assign)]
        assert hosts.count("a") == hosts.count("b") == 150

    runner.run(asyncio.wait_for(scene(), 30))
