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
FOLLOWED = [subject for subject in subjects.LOG_SUBJECTS if subject.split(".")[1] != "output"]
"""What is true of jobs and hosts. What was published changes nothing here."""


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
        self._refused = asyncio.get_running_loop().create_future()

        def on_entries(entries: list[Entry]) -> None:
            scheduler.fold(entries)
            if self._scheduler is scheduler:
                self._publish(scheduler.decide())

        feed = await LogFeed.open(self._bus, FOLLOWED, on_entries)
        lost = asyncio.ensure_future(lease.lost.wait())
        caught_up = asyncio.ensure_future(feed.caught_up.wait())
        ends: list[asyncio.Future[Any]] = [feed.ended, lost, self._refused]
        try:
            await asyncio.wait([caught_up, *ends], return_when=asyncio.FIRST_COMPLETED)
            if caught_up.done():
                self._scheduler = scheduler
                self._publish(scheduler.decide())
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
        finally:
            for waiting in (lost, caught_up):
                waiting.cancel()
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
