"""The publisher service: the state machine joined to the bus. One leads, others may stand by."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from functools import partial
from typing import Any

import msgspec

from headrace.bus import Bus, BusSettings, Entry, Lease, LogFeed
from headrace.errors import PublishRefused
from headrace.publisher.settings import Settings
from headrace.publisher.state import Batch, Publisher
from headrace_schemas import Published, subjects

log = logging.getLogger(__name__)

LEASE = "publisher"
TOO_LARGE = frozenset({0, 10054})
"""Codes of a refusal for a message's size: the server's payload (found before sending, without a code), or the stream's largest message."""
FOLLOWED = [subject for subject in subjects.LOG_SUBJECTS if subject.split(".")[1] in ("job", "event", "purge", "host", "output")]
"""What outputs come to be by, who holds them, and what was announced. Not plans and assignments."""


class PublisherService:
    """Waits for the lease, folds the log, announces while it holds the lease; and from the beginning if it loses it."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self._settings = settings
        self._bus = bus
        self._publisher: Publisher | None = None
        self._refused: asyncio.Future[None]

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._bus.ensure_streams()
        await self._bus.ensure_buckets()
        await self._bus.serve("headrace-publisher", "announces outputs, once each", {"status": self._status})
        lease = self._bus.lease(LEASE, f"{socket.gethostname()}-{os.getpid()}", self._settings.lease_ttl)
        while True:
            await lease.acquire()
            try:
                await self._lead(lease)
            except PublishRefused as error:
                log.error("an announcement was refused; folding the log anew in %g s: %s", self._settings.retry_delay, error)
                await asyncio.sleep(self._settings.retry_delay)
            finally:
                self._publisher = None
                await lease.release()

    async def _lead(self, lease: Lease) -> None:
        """Announce until the lease is lost. Raises PublishRefused if another publisher came first, or the log is full."""
        publisher = Publisher(self._settings, lease.term)
        self._refused = asyncio.get_running_loop().create_future()

        def on_entries(entries: list[Entry]) -> None:
            publisher.fold(entries)
            if self._publisher is publisher:
                self._publish(publisher.decide())

        feed = await LogFeed.open(self._bus, FOLLOWED, on_entries)
        lost = asyncio.ensure_future(lease.lost.wait())
        caught_up = asyncio.ensure_future(feed.caught_up.wait())
        ends: list[asyncio.Future[Any]] = [feed.ended, lost, self._refused]
        try:
            await asyncio.wait([caught_up, *ends], return_when=asyncio.FIRST_COMPLETED)
            if caught_up.done():
                self._publisher = publisher
                self._publish(publisher.decide())
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
        finally:
            for waiting in (lost, caught_up):
                waiting.cancel()
            await feed.close()

    def _publish(self, batches: list[Batch]) -> None:
        for message, after in batches:
            stored = self._bus.publish(subjects.output(message.job), message, expected_last_subject_seq=after)
            stored.add_done_callback(partial(self._stored, self._publisher, message))

    def _stored(self, publisher: Publisher | None, message: Published, done: asyncio.Future[int]) -> None:
        """The next batch of the job may follow, unless this one was refused."""
        if done.cancelled() or publisher is None or publisher is not self._publisher:
            return
        error = done.exception()
        if error is None:
            publisher.stored(message, done.result())
            self._publish(publisher.decide())
        elif type(error) is PublishRefused and error.code in TOO_LARGE and publisher.refused(message):
            log.warning("an announcement of job %s is announced in smaller parts, or without metadata: %s", message.job, error)
            self._publish(publisher.decide())
        elif not self._refused.done():
            self._refused.set_exception(error)

    async def _status(self, _: bytes) -> bytes:
        """What the micro service answers."""
        leading = self._publisher is not None
        return msgspec.json.encode({"leading": leading, **(self._publisher.status() if self._publisher is not None else {})})


async def run(settings: Settings, bus_settings: BusSettings) -> None:
    """Connect and serve until cancelled."""
    async with await Bus.connect(bus_settings, "headrace-publisher") as bus:
        await PublisherService(settings, bus).run()
