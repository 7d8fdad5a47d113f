"""The publisher service on a real NATS server announces each output once on OUTPUTS, even if the publisher is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from headrace.bus import Bus, BusSettings, EmbeddedServer, Feed, MemoryBus, run_service
from headrace.bus.feed import OnRecords, Snapshot, Source
from headrace.publisher.service import PublisherService, run
from headrace.publisher.settings import Settings
from headrace_schemas import Ended, Events, GraphSource, HostJoined, LogMessage, Output, Published, Submitted, decoder, subjects
from headrace_schemas.streams import LOG, OUTPUTS
from tests.scheduler_graphs import flat

TURNS = 50
"""Turns of the loop in which what has come has long been looked at."""
QUICK = Settings(message_bytes=3000, lease_seconds=1.0, retry_seconds=0.05)
STATUS = "headrace.service.headrace-publisher.status"


class Outputs:
    """What stands on OUTPUTS."""

    def __init__(self) -> None:
        self.found: list[Output] = []
        self._decode = decoder(LogMessage).decode

    async def open(self, bus: Bus, stream: str = OUTPUTS.name) -> None:
        await bus.follow(stream, subjects.ALL_OUTPUTS, self._on_records)

    def _on_records(self, records: list[Any]) -> None:
        for record in records:
            message = self._decode(record.data)
            assert isinstance(message, Published)
            self.found += message.outputs

    @property
    def datasets(self) -> list[int]:
        return sorted(output.dataset for output in self.found)


async def begin(bus: Bus, n_tasks: int, job: str = "j") -> None:
    await bus.publish(subjects.host("a"), HostJoined(at=0, term=1, host="a", epoch=1, address="a:1", runners=1, capacity=1))
    submitted = Submitted(job=job, name="n", n_tasks=n_tasks, graph=GraphSource(inline=flat(n_tasks)))
    await bus.publish(subjects.submitted(job), submitted)


async def produce(bus: Bus, datasets: range, job: str = "j") -> None:
    made = list(datasets)
    await bus.publish(subjects.event(job, "a"), Events(job=job, host="a", epoch=1, done=made, produced=made, sizes=[100] * len(made)))


@asynccontextmanager
async def publisher(server: EmbeddedServer, settings: Settings = QUICK) -> Any:
    service = asyncio.ensure_future(run(settings, server.settings))
    try:
        yield service
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


def test_outputs_are_announced_as_they_come_to_be(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    async def scene() -> None:
        outputs = Outputs()
        await outputs.open(bus)
        async with publisher(nats_server):
            await begin(bus, 300)
            await produce(bus, range(100))
            await until(lambda: len(outputs.found) == 100)
            await produce(bus, range(50, 300))
            await bus.publish(subjects.state("j"), Ended(at=1, term=1, job="j", state="done"))
            await until(lambda: len(outputs.found) >= 300)
            status = msgspec.json.decode(await bus.request(STATUS))
            assert status["leading"]
            assert status["announced"] == 300
        assert outputs.datasets == list(range(300))
        assert {(output.host, output.bytes) for output in outputs.found} == {("a", 100)}
        assert outputs.found[7].name == "plain-7"

    runner.run(asyncio.wait_for(scene(), 30))


def test_announcements_of_values_in_the_log_wait_for_company(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    """Nobody waits for them. Outputs that hosts hold are announced at once, and everything before the publisher ends."""

    async def scene() -> None:
        outputs = Outputs()
        await outputs.open(bus)
        async with publisher(nats_server, msgspec.structs.replace(QUICK, linger_seconds=3600.0)):
            await begin(bus, 1, "small")
            values = Events(job="small", host="a", epoch=1, done=[0], produced=[0], sizes=[1], value_ids=[0], values=[b"x"])
            await bus.publish(subjects.event("small", "a"), values)
            await begin(bus, 1, "held")
            await produce(bus, range(1), "held")
            await until(lambda: len(outputs.found) == 1)
            assert outputs.found[0].host == "a"
        await until(lambda: len(outputs.found) == 2)
        assert outputs.found[1].checksum

    runner.run(asyncio.wait_for(scene(), 30))


def test_what_is_written_while_a_publisher_begins_to_lead_is_announced(runner: asyncio.Runner, until: Callable[..., Any]) -> None:
    """The server answers late that the feed is open, and long after its first messages have come."""

    class SlowBus(MemoryBus):
        async def _follow(self, source: Source, on_records: OnRecords, snapshot: Snapshot | None = None) -> Feed:
            leads = source.from_seq > 1
            if leads:
                await produce(self, range(3))
            feed = await super()._follow(source, on_records, snapshot)
            for _ in range(TURNS if leads else 0):
                await asyncio.sleep(0)
            return feed

    async def scene() -> None:
        bus = SlowBus()
        await begin(bus, 4)
        service = asyncio.ensure_future(PublisherService(QUICK, bus).run())
        outputs = Outputs()
        await outputs.open(bus, LOG.name)
        await until(lambda: outputs.datasets == [0, 1, 2])
        await produce(bus, range(3, 4))
        await until(lambda: outputs.datasets == [0, 1, 2, 3])
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)

    runner.run(asyncio.wait_for(scene(), 30))


def _serve(settings: BusSettings) -> None:
    os._exit(run_service(lambda: run(QUICK, settings)))


def test_each_output_is_announced_once_though_publishers_are_killed(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    """Killed with batches on their way; the next one begins when the lease of the last has run out."""
    processes = multiprocessing.get_context("spawn")

    async def scene() -> None:
        outputs = Outputs()
        await outputs.open(bus)
        await begin(bus, 6000)
        for round_ in range(3):
            service = processes.Process(target=_serve, args=(nats_server.settings,), daemon=True)
            service.start()
            try:
                before = len(outputs.found)
                await produce(bus, range(2000 * round_, 2000 * (round_ + 1)))
                await until(lambda: len(outputs.found) > before + 100)  # noqa: B023
                if round_ == 2:
                    await until(lambda: len(outputs.found) >= 6000)
            finally:
                os.kill(service.pid or 0, signal.SIGKILL)
                service.join()
        assert outputs.datasets == list(range(6000))

    runner.run(asyncio.wait_for(scene(), 60))


def test_two_publishers_that_both_think_they_lead_announce_once(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    """The lease is taken from under the first: until it notices, the sequences that it expects keep it from announcing twice."""

    async def scene() -> None:
        outputs = Outputs()
        await outputs.open(bus)
        await begin(bus, 2000)
        async with publisher(nats_server), publisher(nats_server):
            await produce(bus, range(500))
            await until(lambda: len(outputs.found) >= 50)
            await bus.kv("leases").delete("publisher")
            await produce(bus, range(400, 1200))
            await until(lambda: len(outputs.found) >= 1200)
            await produce(bus, range(1200, 2000))
            await until(lambda: len(outputs.found) >= 2000)
        assert outputs.datasets == list(range(2000))

    runner.run(asyncio.wait_for(scene(), 30))


def test_an_output_whose_metadata_is_too_large_for_the_server_is_announced_without(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any]
) -> None:
    """Each half of the metadata fits into a message, and the whole does not."""

    async def scene() -> None:
        outputs = Outputs()
        await outputs.open(bus)
        spec = flat(2)
        spec.annotated, spec.metadata = [0], [{"given": "x" * (5 << 20)}]
        await bus.publish(subjects.host("a"), HostJoined(at=0, term=1, host="a", epoch=1, address="a:1", runners=1, capacity=1))
        await bus.publish(subjects.submitted("j"), Submitted(job="j", name="n", n_tasks=2, graph=GraphSource(inline=spec)))
        yielded = {"yielded": "y" * (5 << 20)}
        made = Events(job="j", host="a", epoch=1, produced=[0, 1], sizes=[1, 1], metadata_ids=[0], metadata=[yielded])
        async with publisher(nats_server):
            await bus.publish(subjects.event("j", "a"), made)
            await until(lambda: len(outputs.found) >= 2)
        assert [(output.dataset, list(output.metadata)) for output in outputs.found] == [(0, ["headrace_error"]), (1, [])]

    runner.run(asyncio.wait_for(scene(), 30))
