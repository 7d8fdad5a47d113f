"""The snapshots of one service: read when it starts, written while it leads.

A snapshot says which part of the log a service needs to read (see `headrace.ledger.snapshot`). It only saves time. The service reads the
whole log if there is no snapshot, if the snapshot cannot be read, or if it was made from another log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from headrace.bus.feed import until_caught_up
from headrace.bus.frames import Record
from headrace.bus.log import LogFeed, OnEntries
from headrace.bus.reading import Entry
from headrace.errors import HeadraceError, JetStreamRefused
from headrace.ledger.snapshot import Selection, Span
from headrace.ledger.snapshot_parts import in_parts, part_name, whole
from headrace.logs import get_log
from headrace_schemas import SCHEMA_VERSION, SNAPSHOT_LAYOUT, LedgerSnapshot, decoder, encode
from headrace_schemas.reading import Unreadable, read
from headrace_schemas.streams import LOG, MAX_MESSAGE_BYTES, SNAPSHOTS

if TYPE_CHECKING:
    from headrace.bus.bus import Bus

log = get_log(__name__)

EVERY = 2_000
"""Entries of the log between two snapshots. A service that starts has to read them all, which takes a tenth of a second."""
REST_SECONDS = 5.0
"""Least seconds between two snapshots: a snapshot has some kilobytes for each hundred running jobs."""
MANY_JOBS = 200
"""Jobs of a snapshot from which on another one is stored later, even if nothing more is written to the log: most of them may be over, and a
controller forgets a job ten seconds after its end."""
MOST_BYTES = 5 << 20
"""Largest snapshot with all its parts, in bytes: a third of the bucket, which three services share. It is enough for 300,000 running jobs.
With more there is no snapshot, and a service that starts reads the whole log."""
FLUSH_SECONDS = 10.0
"""Seconds to wait until the decisions before a snapshot are stored. If they are not, a later snapshot serves as well."""

_snapshot = decoder(LedgerSnapshot)
Take = Callable[[], LedgerSnapshot | None]


class Snapshots:
    """The snapshots of one service.

    seq: the sequence of the last one that was loaded or stored; 0 before the first. due: the sequence of the log from which on the next one
    is stored.
    """

    def __init__(self, bus: Bus, service: str) -> None:
        self.seq = 0
        self.due = EVERY
        self._bus = bus
        self._service = service
        self._writing: asyncio.Task[None] | None = None

    # --- reading ----------------------------------------------------------------------------------------------------------

    async def load(self) -> LedgerSnapshot | None:
        """Return the snapshot to start from; None if no usable one is stored. Raises NatsUnreachable."""
        self.seq, self.due = 0, EVERY
        try:
            found = await self._bus.kv(SNAPSHOTS.name).get(self._service)
            if found is None:
                return None
            snapshot: LedgerSnapshot = read(_snapshot, found.value, self._service)
            snapshot = await self._with_rest(snapshot)
        except (JetStreamRefused, Unreadable) as error:
            log.info("the snapshot cannot be read: reading the whole log", service=self._service, error=error)
            return None
        reason = await self._fault(snapshot)
        if reason:
            log.info("the snapshot is not used: reading the whole log", service=self._service, reason=reason)
            return None
        self.seq, self.due = snapshot.seq, snapshot.seq + EVERY
        return snapshot

    async def _with_rest(self, first: LedgerSnapshot) -> LedgerSnapshot:
        """Add the other parts to the first one. Raises Unreadable if one is missing or belongs to another snapshot."""
        names = [part_name(self._service, number) for number in range(1, len(first.rest) + 1)]
        found = await asyncio.gather(*map(self._bus.kv(SNAPSHOTS.name).get, names))
        parts = [first]
        for name, entry, revision in zip(names, found, first.rest, strict=True):
            if entry is None or entry.revision != revision:
                raise Unreadable(f"part {name!r} is missing, or belongs to another snapshot")
            parts.append(read(_snapshot, entry.value, name))
        return whole(parts)

    async def _fault(self, snapshot: LedgerSnapshot) -> str:
        """Return why a snapshot cannot be used; empty if it can."""
        if (snapshot.schema, snapshot.layout) != (SCHEMA_VERSION, SNAPSHOT_LAYOUT):
            return "another release wrote it"
        record = await self._bus.at(LOG.name, snapshot.seq)
        return "" if record is not None and record.time == snapshot.time else "the log has another message, or none, at its sequence"

    async def read(self, snapshot: LedgerSnapshot, subjects: Iterable[str], on_entries: OnEntries) -> None:
        """Pass on the entries that the snapshot selects, all before its sequence. The caller reads on from that sequence."""
        selection, wanted = Selection(snapshot), list(subjects)
        for span in selection.ranges:
            await self._read_range(selection, span, wanted, on_entries)
        rest = selection.until(snapshot.seq)
        if rest:
            on_entries(rest)  # type: ignore[arg-type]

    async def _read_range(self, selection: Selection, span: Span, subjects: list[str], on_entries: OnEntries) -> None:
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def select(record: Record) -> bool:
            if record.seq <= span.last:
                return selection.is_needed(record.subject)
            if not passed.done():
                passed.set_result(None)
            return False

        def fold(entries: list[Entry]) -> None:
            on_entries(selection.merged(entries))  # type: ignore[arg-type]

        feed = await LogFeed.open(self._bus, subjects, fold, from_seq=span.first, whole=True, select=select)
        caught_up = asyncio.ensure_future(until_caught_up(feed))
        try:
            await asyncio.wait([passed, caught_up], return_when=asyncio.FIRST_COMPLETED)
            if caught_up.done():
                caught_up.result()
            await feed.settled()
        finally:
            caught_up.cancel()
            await feed.close()

    # --- writing ----------------------------------------------------------------------------------------------------------

    def folded(self, seq: int, take: Take) -> None:
        """Note that the service, which leads, has folded the log up to a sequence. Store a snapshot if it is due, without waiting for it.

        take: makes the snapshot, or returns None if it cannot be made at the moment.
        """
        if seq >= self.due and self._writing is None:
            self.due = seq + EVERY
            self._writing = asyncio.ensure_future(self._write(take))

    def stop(self) -> None:
        """Stop storing snapshots, because the service no longer leads."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    async def _write(self, take: Take) -> None:
        """Store a snapshot, and rest.

        Most jobs of a large snapshot may be over and forgotten soon: then store another one after a while.
        """
        while await self._write_one(take) > MANY_JOBS:
            await asyncio.sleep(REST_SECONDS)
        await asyncio.sleep(REST_SECONDS)
        self._writing = None

    async def _write_one(self, take: Take) -> int:
        """Store a snapshot, once everything is stored that was decided before it was made. Returns the number of its jobs."""
        try:
            snapshot = take()
            if snapshot is None:
                return 0
            await self._bus.flush_acks(FLUSH_SECONDS)
            await self._store(snapshot)
        except (HeadraceError, TimeoutError) as error:
            log.info("no snapshot is stored this time", service=self._service, error=error)
            return 0
        self.due = max(self.due, snapshot.seq + EVERY)
        return len(snapshot.jobs)

    async def _store(self, snapshot: LedgerSnapshot) -> None:
        """Store all parts. The first one is stored last, since it names the revisions of the others."""
        parts = in_parts(snapshot, MAX_MESSAGE_BYTES)
        nbytes = sum(len(encode(part)) for part in parts)
        if nbytes > MOST_BYTES:
            log.info("no snapshot is stored: too many running jobs", service=self._service, jobs=len(snapshot.jobs), bytes=nbytes)
            return
        bucket, (first, *others) = self._bus.kv(SNAPSHOTS.name), parts
        rest = await asyncio.gather(*(bucket.put(part.service, encode(part)) for part in others))
        await bucket.put(self._service, encode(msgspec.structs.replace(first, rest=rest)))
        self.seq = snapshot.seq
