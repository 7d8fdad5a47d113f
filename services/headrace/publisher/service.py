"""The publisher service: it joins the state machine to the bus. One process leads; others may stand by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from headrace.bus import Bus, BusSettings, Ends, Entry, Leader, Role
from headrace.bus.later import Later
from headrace.errors import TOO_LARGE, PublishRefused
from headrace.logs import get_log
from headrace.publisher.commits import Action, Commit
from headrace.publisher.committing import Committer
from headrace.publisher.fetches import Fetches
from headrace.publisher.metrics import families
from headrace.publisher.settings import Settings
from headrace.publisher.state import Announcement, Publisher, is_committed
from headrace.telemetry import Family
from headrace.telemetry.tracing import now
from headrace_schemas import Published, subjects

log = get_log(__name__)

NAME = "headrace-publisher"
LEASE = "publisher"
FOLLOWED = [*subjects.families("job", "event", "purge", "host", "term"), subjects.ALL_COMMITTED]
"""The subjects of messages that create outputs, or name the hosts that hold them. The publisher reads no plans and assignments. While it
leads, its own announcements of held outputs are not sent back to it."""


class PublisherService:
    """Runs the publisher: it waits for the lease, folds the log, and announces outputs while it holds the lease.

    If it loses the lease, it starts again.
    """

    def __init__(self, settings: Settings, bus: Bus, committer: Callable[[Settings], Committer] = Committer) -> None:
        self._settings = settings
        self._bus = bus
        own = [subjects.ALL_HELD]
        role = Role(LEASE, FOLLOWED, own, settings.lease_seconds, settings.retry_seconds, "an announcement", rest=settings.rest_seconds)
        self._committer = committer(settings)
        self._fetches = Fetches(bus, NAME, settings.fetching)
        self._later: Later
        self._leader = Leader(bus, role, partial(Publisher, settings), self._attend, self._on_entries)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._bus.ensure_streams()
        await self._bus.ensure_buckets()
        endpoints = {"status": self._status, **self._fetches.endpoints}
        await self._bus.serve(NAME, "announces each output once, and relays values to clients", endpoints, self.metrics)
        try:
            await self._leader.run()
        finally:
            self._fetches.close()
            self._committer.close()

    async def _status(self, request: bytes) -> bytes:
        """Return the state of this publisher, and the number of fetches in progress."""
        return msgspec.json.encode({**msgspec.json.decode(await self._leader.status(request)), "fetches": len(self._fetches)})

    def metrics(self) -> Iterator[Family]:
        """Yield metrics: whether this process leads, and the state of its machine if it does."""
        yield self._leader.leading()
        if self._leader.machine is not None:
            yield from families(self._leader.machine)

    @asynccontextmanager
    async def _attend(self, publisher: Publisher) -> AsyncIterator[Ends]:
        """Announce the outputs that no publisher has announced yet."""
        self._later = Later(self._settings.linger_seconds)
        self._announce(publisher)
        try:
            yield ()
        finally:
            self._later.flush()

    def _on_entries(self, publisher: Publisher, entries: list[Entry]) -> None:
        """Fold the entries, and announce the outputs that follow from them."""
        publisher.fold(entries)
        self._announce(publisher)
        self._bus.pace.rest = publisher.rest

    def _announce(self, publisher: Publisher) -> None:
        try:
            self._publish(publisher)
        except Exception as error:
            self._leader.fail(error)

    def _publish(self, publisher: Publisher) -> None:
        for batch in publisher.decide():
            if batch.travelled:
                self._later.do(partial(self._send, publisher, batch))
            else:
                self._send(publisher, batch)
        actions = publisher.take_actions()
        if actions and self._leader.machine is publisher:  # another process may lead by now
            for action in actions:
                self._committer.start_action(action, partial(self._carried_out, publisher, action))

    def _send(self, publisher: Publisher, batch: Announcement) -> None:
        """Announce some outputs of a job. If another publisher leads by now, it announces them."""
        if self._leader.machine is publisher:
            message = batch.message
            subject = subjects.committed(message.job) if is_committed(message) else subjects.output(message.job)
            stored = self._bus.publish(subject, message, expected_last_subject_seq=batch.after)
            stored.add_done_callback(partial(self._stored, publisher, message, now()))

    def _carried_out(self, publisher: Publisher, action: Action, error: str) -> None:
        """Announce a commit, or its failure. A part that cannot be removed stays in the sink."""
        if not isinstance(action, Commit):
            if error:
                log.warning("temporary files remain in a sink", error=error)
        elif publisher is self._leader.machine:
            publisher.carried_out(action, error)
            self._announce(publisher)

    def _stored(self, publisher: Publisher, message: Published, began: int, done: asyncio.Future[int]) -> None:
        """Allow the next batch of the job, unless this one was refused."""
        if done.cancelled() or publisher is not self._leader.machine:
            return
        error = done.exception()
        if error is None:
            if self._bus.tracing is not None:
                about = {"headrace.outputs": len(message.outputs), "headrace.bytes": sum(output.bytes for output in message.outputs)}
                self._bus.tracing.sent(message.job, "headrace.output", began, about)
            publisher.stored(message, done.result())
            self._announce(publisher)
        elif type(error) is PublishRefused and error.code in TOO_LARGE and publisher.refused(message):
            log.warning("outputs are announced in smaller parts, or without metadata", job=message.job, error=error)
            self._announce(publisher)
        else:
            self._leader.fail(error)


async def run(settings: Settings, bus_settings: BusSettings) -> None:
    """Connect and serve until cancelled."""
    async with await Bus.connect(bus_settings, NAME) as bus:
        await PublisherService(settings, bus).run()
