"""The scheduler service, which feeds the log to the state machine and publishes its decisions. One leads, others may stand by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter

from headrace.bus import Bus, BusSettings, Ends, Entry, Leader, Role
from headrace.scheduler.metrics import SchedulerCounts, families
from headrace.scheduler.settings import Settings
from headrace.scheduler.spans import trace_decisions
from headrace.scheduler.state import Scheduler
from headrace.telemetry import Family
from headrace.telemetry.tracing import now
from headrace_schemas import subjects

LEASE = "scheduler"
FOLLOWED = subjects.families("job", "event", "purge", "host", "term")
"""The subjects that a leader follows: messages of other services about jobs and hosts. It needs no `Published`."""
DECIDED = subjects.families("plan", "assign")
"""The subjects of schedulers' decisions. A new leader reads those of earlier ones; its own are not sent back to it."""


class SchedulerService:
    """Waits for the lease, folds the log, and decides while it holds the lease. If it loses the lease, it starts again."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self._settings = settings
        self._bus = bus
        self._counts = SchedulerCounts()
        role = Role(LEASE, FOLLOWED, DECIDED, settings.lease_seconds, settings.retry_seconds, "a decision", fences=True)
        self._leader = Leader(bus, role, partial(Scheduler, settings), self._attend, self._on_entries)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._bus.ensure_streams()
        await self._bus.ensure_buckets()
        await self._bus.serve("headrace-scheduler", "plans jobs and releases windows", {"status": self._leader.status}, self.metrics)
        await self._leader.run()

    def metrics(self) -> Iterator[Family]:
        """Export whether this process leads, and the metrics of a leader."""
        yield self._leader.leading()
        if self._leader.machine is not None:
            yield from families(self._counts, self._leader.machine)

    @asynccontextmanager
    async def _attend(self, scheduler: Scheduler) -> AsyncIterator[Ends]:
        """Make the decisions that are due when a term begins, and tick while it lasts."""
        scheduler.tick(perf_counter())
        self._decide(scheduler)
        ticking = asyncio.ensure_future(self._tick(scheduler))
        try:
            yield (ticking,)
        finally:
            ticking.cancel()

    async def _tick(self, scheduler: Scheduler) -> None:
        while True:
            await asyncio.sleep(self._settings.tick_seconds)
            if scheduler.n_queued or scheduler.running.since or scheduler.has_work:
                scheduler.tick(perf_counter())
                self._decide(scheduler)

    def _on_entries(self, scheduler: Scheduler, entries: list[Entry]) -> None:
        """Fold a batch of entries, and decide."""
        began = now()
        scheduler.tick(perf_counter())
        scheduler.fold(entries)
        self._decide(scheduler, began)

    def _decide(self, scheduler: Scheduler, began: int = 0) -> None:
        """Publish the decisions that follow from the folded entries. began: the start of the span, in ns since 1970. Call `tick` before."""
        started = perf_counter()
        decisions = scheduler.decide()
        self._counts.add_decisions(decisions, perf_counter() - started)
        if not decisions:
            return
        if self._leader.machine is not scheduler:  # planning took so long that the lease may be lost
            return
        if self._bus.tracing is not None:
            trace_decisions(self._bus.tracing, decisions, began or now())
        for message in decisions:
            self._bus.publish(message.subject(), message).add_done_callback(self._published)

    def _published(self, done: asyncio.Future[int]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._leader.fail(error)


async def run(settings: Settings, bus_settings: BusSettings) -> None:
    """Connect and serve until cancelled."""
    async with await Bus.connect(bus_settings, "headrace-scheduler") as bus:
        await SchedulerService(settings, bus).run()
