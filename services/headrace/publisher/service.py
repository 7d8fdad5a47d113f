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
FOLLOWED = [subject for subject in subjects.LOG_SUBJECTS if subject.split(".")[1] in ("job", "event", "purge", "host")]
"""What outputs come to be by, and who holds them. Not plans and assignments; nor, while it leads, what it announced itself."""


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
        lost = asyncio.ensure_future(lease.lost.wait())
        try:
            if await self._catch_up(publisher, lost):
                await self._announce(publisher, lost)
        finally:
            lost.cancel()

    async def _catch_up(self, publisher: Publisher, lost: asyncio.Future[Any]) -> bool:
        """Fold everything that is in the log. False if the lease was lost before that was done."""
        feed = await LogFeed.open(self._bus, [*FOLLOWED, subjects.ALL_OUTPUTS], publisher.fold)
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

    async def _announce(self, publisher: Publisher, lost: asyncio.Future[Any]) -> None:
        """Announce all outputs that come to be from here on. What came shortly one after the other is looked at together."""
        waiting: list[Entry] = []

        def on_entries(entries: list[Entry]) -> None:
            if not waiting:
                asyncio.get_running_loop().call_later(self._settings.linger, take)
            waiting.extend(entries)

        def take() -> None:
            if self._publisher is publisher:
                entries = waiting.copy()
                waiting.clear()
                self._take(publisher, entries)

        self._refused = asyncio.get_running_loop().create_future()
        feed = await LogFeed.open(self._bus, FOLLOWED, on_entries, from_seq=publisher.ledger.last_seq + 1)
        try:
            self._publisher = publisher
            self._publish(publisher.decide())
            ends = [feed.ended, lost, self._refused]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
        finally:
            await feed.close()

    def _take(self, publisher: Publisher, entries: list[Entry]) -> None:
        try:
            publisher.fold(entries)
            self._publish(publisher.decide())
        except Exception as error:
            if not self._refused.done():
                self._refused.set_exception(error)

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
