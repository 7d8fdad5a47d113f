"""Reading the LOG stream: messages decoded, and graphs that were too large for a message put into them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from headrace.bus.bus import Bus
from headrace.bus.feed import Feed
from headrace.bus.frames import Record
from headrace.errors import JetStreamRefused, NatsUnreachable, NewerSchema
from headrace.logs import get_log
from headrace_schemas import (
    SCHEMA_VERSION,
    Assign,
    Ended,
    GraphSource,
    GraphSpec,
    LogMessage,
    Submitted,
    decoder,
    subjects,
)
from headrace_schemas.streams import GRAPHS, LOG

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing

log = get_log(__name__)

_REMEMBERED = 4
"""Graphs kept decoded: a host is assigned the graph that was submitted just before, a scheduler reads both."""


class Entry(NamedTuple):
    """A message of the log: its sequence, the time at which the server stored it (seconds since 1970), its subject, and itself."""

    seq: int
    time: float
    subject: str
    message: LogMessage


OnEntries = Callable[[list[Entry]], None]


class _Header(msgspec.Struct):
    """What can be read of a message that is wrong or too new in its other fields."""

    v: int = 0
    client: object = ""


_decode = decoder(LogMessage).decode
_header = msgspec.json.Decoder(_Header).decode
_graph = decoder(GraphSpec).decode


def decode(record: Record) -> Entry | None:
    """Decode a message of the log. None, and a line in our own log, for what cannot be read. Raises NewerSchema for a newer schema.

    What a client submitted harms nobody else: where it cannot be read, or is of a newer schema, it stands for a job whose graph cannot
    run, and that job ends at once, with the reason.
    """
    if record.subject.endswith(subjects.SUBMITTED):
        return _submitted(record)
    try:
        message = _decode(record.data)
    except msgspec.DecodeError as error:
        _refuse_newer(record)
        log.error("a message of the log cannot be read and is skipped", seq=record.seq, subject=record.subject, error=error)
        return None
    if message.v > SCHEMA_VERSION:
        _refuse_newer(record)
    return Entry(record.seq, record.time, record.subject, message)


def _submitted(record: Record) -> Entry | None:
    """A submission; None, and a line in our own log, if its subject names no job."""
    job = record.subject.split(".")[2]
    try:
        subjects.token(job)
    except ValueError as error:
        log.error("a submission is ignored, for it names no job", seq=record.seq, subject=record.subject, error=error)
        return None
    try:
        message = _decode(record.data)
    except msgspec.DecodeError:
        message = None
    if not isinstance(message, Submitted) or message.job != job or message.v > SCHEMA_VERSION:
        message = _without_graph(job, record.data)
    return Entry(record.seq, record.time, record.subject, message)


def _without_graph(job: str, data: bytes) -> Submitted:
    """Stands for a submission that this release cannot read: with a graph of the newer version if that is why, without one otherwise."""
    try:
        header = _header(data)
    except msgspec.DecodeError:
        header = _Header()
    graph = GraphSource()
    if header.v > SCHEMA_VERSION:
        graph.inline = GraphSpec(v=header.v, name="", n_tasks=0, shape_hash="", content_hash="", functions=[], function=[])
    return Submitted(job=job, graph=graph, client=header.client if isinstance(header.client, str) else "")


def _refuse_newer(record: Record) -> None:
    try:
        found = _header(record.data).v
    except msgspec.DecodeError:
        return
    if found > SCHEMA_VERSION:
        raise NewerSchema(
            f"message {record.seq} of the log, on {record.subject}, has schema version {found}, but this release reads up to "
            f"{SCHEMA_VERSION}: upgrade this side"
        )


def _learn(tracing: Tracing, records: list[Record], entries: list[Entry]) -> None:
    """Take in to which trace the jobs belong that these messages are about, and which of them are over. A job whose client makes no traces
    has one all the same, the same in every service."""
    headers = {record.seq: record.headers for record in records}
    for entry in entries:
        job = getattr(entry.message, "job", "")
        if not tracing.learn(job, headers[entry.seq]) and isinstance(entry.message, Submitted):
            tracing.adopt(job)
        if isinstance(entry.message, Ended):
            tracing.over(job)


def _unresolved(message: LogMessage) -> str:
    """Key of the graph that is still in the object store, or nothing."""
    if isinstance(message, Submitted | Assign) and message.graph is not None and message.graph.inline is None:
        return message.graph.key
    return ""


class LogFeed:
    """A feed of decoded entries, each once and in order. Submitted and Assign always carry their graph inline, but for a Submitted whose
    graph is gone.

    A message that cannot be read, or an Assign whose graph is gone, is logged and skipped. A message of a newer schema ends the feed:
    `ended` has NewerSchema. caught_up and last_seq as those of Feed, but for entries passed on.
    """

    def __init__(self, bus: Bus, on_entries: OnEntries) -> None:
        self.caught_up = asyncio.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._objects = bus.objects(GRAPHS.name)
        self._reading = bus.reading
        self._on_entries = on_entries
        self._tracing = bus.tracing
        self._feed: Feed | None = None
        self._waiting: deque[Entry] = deque()
        self._graphs: dict[str, GraphSpec] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, bus: Bus, subjects: str | Iterable[str], on_entries: OnEntries, *, from_seq: int = 1, whole: bool = False
    ) -> LogFeed:
        """Follow the log on these subjects. Arguments as of Bus.follow."""
        feed = cls(bus, on_entries)
        inner = await bus.follow(LOG.name, subjects, feed._on_records, from_seq=from_seq, whole=whole)
        feed._attach(inner)
        return feed

    @property
    def last_seq(self) -> int:
        """Sequence of the last message passed on or skipped."""
        if self._waiting:
            return self._waiting[0].seq - 1
        return self._feed.last_seq if self._feed is not None else 0

    async def close(self) -> None:
        """Nothing is passed on from here on."""
        self._stop()
        if self._feed is not None:
            await self._feed.close()
        if not self.ended.done():
            self.ended.set_result(None)

    def _attach(self, inner: Feed) -> None:
        self._feed = inner
        inner.ended.add_done_callback(self._inner_ended)
        self._watching = asyncio.ensure_future(self._watch(inner))

    async def _watch(self, inner: Feed) -> None:
        await inner.caught_up.wait()
        while self._fetching is not None:
            await self._fetching
        self.caught_up.set()

    def _inner_ended(self, inner: asyncio.Future[None]) -> None:
        if self.ended.done():
            return
        self._stop()
        error = inner.exception()
        if error is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)

    def _stop(self) -> None:
        self._waiting.clear()
        for task in (self._fetching, self._watching):
            if task is not None:
                task.cancel()

    def _on_records(self, records: list[Record]) -> None:
        entries = [entry for record in records if (entry := decode(record)) is not None]
        if self._tracing is not None:
            _learn(self._tracing, records, entries)
        if self._waiting or any(_unresolved(entry.message) for entry in entries):
            self._waiting.extend(entries)
            if self._fetching is None:
                self._fetching = asyncio.ensure_future(self._resolve())
        elif entries:
            self._pass_on(entries)

    def _pass_on(self, entries: list[Entry]) -> None:
        """Hand over, and count. How old entries are says something only of those that came since the log was caught up with."""
        reading = self._reading
        reading.entries += len(entries)
        reading.seq = entries[-1].seq
        if self.caught_up.is_set():
            reading.lag.add(max(0.0, time.time() - entries[0].time))  # the server's clock may be ahead
        self._on_entries(entries)

    async def _resolve(self) -> None:
        """Pass on what waits, fetching graphs as they come up; then the short way is open again."""
        try:
            while self._waiting:
                ready = await self._next()
                if ready:
                    self._pass_on(ready)
        except Exception as error:
            log.exception("the feed of the log ends: what reads it failed")
            if self._feed is not None:
                self._feed.fail(error)
        finally:
            self._fetching = None

    async def _next(self) -> list[Entry]:
        """What can be passed on now: up to the next message whose graph must be fetched, or that one."""
        key = _unresolved(self._waiting[0].message)
        if key:
            found = await self._put_graph(self._waiting[0], key)
            entry = self._waiting.popleft()
            return [entry] if found else []
        ready: list[Entry] = []
        while self._waiting and not _unresolved(self._waiting[0].message):
            ready.append(self._waiting.popleft())
        return ready

    async def _put_graph(self, entry: Entry, key: str) -> bool:
        """Put the graph into a message. False, and a line in our own log, if it cannot be had and the message says nothing without it; a
        submission does: that its job cannot run."""
        try:
            if key not in self._graphs:
                self._graphs[key] = _graph(await self._fetch(key))
                while len(self._graphs) > _REMEMBERED:
                    del self._graphs[next(iter(self._graphs))]
        except (JetStreamRefused, msgspec.DecodeError) as error:
            log.error("the graph of a message of the log cannot be had", seq=entry.seq, subject=entry.subject, graph=key, error=error)
            return isinstance(entry.message, Submitted)
        if isinstance(entry.message, Submitted | Assign) and (source := entry.message.graph) is not None:
            entry.message.graph = GraphSource(inline=self._graphs[key], key=key, sink=source.sink)
        return True

    async def _fetch(self, key: str) -> bytes:
        while True:
            try:
                return await self._objects.get(key)
            except NatsUnreachable as error:
                log.warning("a graph cannot be had just now, trying on", graph=key, error=error)
