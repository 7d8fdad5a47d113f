"""The services that lead, on a bus in memory: whatever is written where they read, they go on, and begin anew on the same log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from headrace.bus import MemoryBus
from headrace.controller.service import ControllerService
from headrace.controller.settings import Settings as ControllerSettings
from headrace.publisher.service import PublisherService
from headrace.publisher.settings import Settings as PublisherSettings
from headrace.scheduler.service import SchedulerService
from headrace.scheduler.settings import Settings as SchedulerSettings
from headrace_schemas import Ended, subjects
from tests.fuzzing import write_all
from tests.unit.test_bus_reading import read_all


@asynccontextmanager
async def services(bus: MemoryBus) -> AsyncIterator[Callable[[], None]]:
    """All three; gives what raises what ended one of them."""
    made = [
        ControllerService(ControllerSettings(), bus),
        SchedulerService(SchedulerSettings(), bus),
        PublisherService(PublisherSettings(), bus),
    ]
    running = [asyncio.ensure_future(service.run()) for service in made]

    def check() -> None:
        for each in running:
            if each.done():
                each.result()

    try:
        yield check
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def is_ended(bus: MemoryBus, job: str, check: Callable[[], None]) -> None:
    """Wait for the end of a job that the controller ends by itself, for it has no graph."""
    await bus.publish(subjects.submitted(job), b"{")
    while not [entry for entry in await read_all(bus, subjects.state(job)) if isinstance(entry.message, Ended)]:
        check()
        await asyncio.sleep(0.01)


def test_services_that_lead_go_on_and_begin_anew() -> None:
    async def main() -> None:
        async with MemoryBus() as bus:
            async with services(bus) as check:
                await is_ended(bus, "before", check)
                terms = {service: await bus.terms.latest(service) for service in ("controller", "scheduler", "publisher")}
                assert await write_all(bus, terms) > 3_000
                await is_ended(bus, "after", check)
            async with services(bus) as check:
                await is_ended(bus, "anew", check)
            assert bus.reading.unreadable["LOG"].count > 1_000
            assert bus.reading.unreadable["REQUESTS"].count > 10
            assert bus.reading.unreadable["hosts"].count > 10

    asyncio.run(asyncio.wait_for(main(), 60))
