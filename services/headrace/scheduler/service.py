"""The scheduler service: the state machine joined to the bus. One leads, others may stand by."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any

import msgspec

from headrace.bus import Bus, BusSettings, Entry, Lease, LogFeed
from headrace.errors import PublishRefused
from headrace.scheduler.settings import Settings
from headrace.scheduler.state import Scheduler
from headrace_schemas import Decision, Plan, subjects

log = logging.getLogger(__name__)

LEASE = "scheduler"
FOLLOWED = [subject for subject in subjects.LOG_SUBJECTS if subject.split(".")[1] in ("job", "event", "purge", "host")]
"""What others say of jobs and hosts. What was published changes nothing here."""
DECIDED = [subject for subject in subjects.LOG_SUBJECTS if subject.split(".")[1] in ("plan", "assign")]
"""What schedulers say: read to catch up with those before. A leader knows what it decides itself, and does not have it sent back."""


class SchedulerService:
    """Waits for the lease, folds the log, decides while it holds the lease; and from the beginning if it loses it."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self._settings = settings
        self._bus = bus
        self._scheduler: Scheduler | None = None
        self._refused: asyncio.Future[None]

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._bus.ensure_streams()
        await self._bus.ensure_buckets()
        await self._bus.serve("headrace-scheduler", "plans jobs and releases windows", {"status": self._status})
        lease = self._bus.lease(LEASE, f"{socket.gethostname()}-{os.getpid()}", self._settings.lease_ttl)
        while True:
            await lease.acquire()
            try:
                await self._lead(lease)
            except PublishRefused as error:
                log.error("a decision was refused; folding the log anew in %g s: %s", self._settings.retry_delay, error)
                await asyncio.sleep(self._settings.retry_delay)
            finally:
                self._scheduler = None
                await lease.release()

    async def _lead(self, lease: Lease) -> None:
        """Decide until the lease is lost. Raises PublishRefused if the log did not take a decision: what was decided on it is void."""
        scheduler = Scheduler(self._settings, lease.term)
        lost = asyncio.ensure_future(lease.lost.wait())
        try:
            if await self._catch_up(scheduler, lost):
                await self._decide(scheduler, lost)
        finally:
            lost.cancel()

    async def _catch_up(self, scheduler: Scheduler, lost: asyncio.Future[Any]) -> bool:
        """Fold everything that is in the log. False if the lease was lost before that was done."""
        feed = await LogFeed.open(self._bus, [*FOLLOWED, *DECIDED], scheduler.fold)
        caught_up = asyncio.ensure_future(feed.caught_up.wait())
        ends: list[asyncio.Future[Any]] = [caught_up, feed.ended, lost]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if feed.ended.done():
                feed.ended.result()
            return caught_up.done()
        finally:
            caught_up.cancel()
            await feed.close()

    async def _decide(self, scheduler: Scheduler, lost: asyncio.Future[Any]) -> None:
        """Decide on everything that others write from here on."""

        def on_entries(entries: list[Entry]) -> None:
            scheduler.fold(entries)
            self._publish(scheduler.decide())

        self._refused = asyncio.get_running_loop().create_future()
        feed = await LogFeed.open(self._bus, FOLLOWED, on_entries, from_seq=scheduler.ledger.last_seq + 1)
        try:
            self._scheduler = scheduler
            self._publish(scheduler.decide())
            ends = [feed.ended, lost, self._refused]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
        finally:
            await feed.close()

    def _publish(self, decisions: list[Decision]) -> None:
        for message in decisions:
            self._bus.publish(subject_of(message), message).add_done_callback(self._published)

    def _published(self, done: asyncio.Future[int]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._refused.done():
            self._refused.set_exception(error)

    async def _status(self, _: bytes) -> bytes:
        """What the micro service answers."""
        leading = self._scheduler is not None
        return msgspec.json.encode({"leading": leading, **(self._scheduler.status() if self._scheduler is not None else {})})


def subject_of(message: Decision) -> str:
    """Where a decision of the scheduler goes."""
    job: str = message.job  # type: ignore[attr-defined]
    return subjects.plan(job) if isinstance(message, Plan) else subjects.assign(job, message.host)  # type: ignore[attr-defined]


async def run(settings: Settings, bus_settings: BusSettings) -> None:
    """Connect and serve until cancelled."""
    async with await Bus.connect(bus_settings, "headrace-scheduler") as bus:
        await SchedulerService(settings, bus).run()
