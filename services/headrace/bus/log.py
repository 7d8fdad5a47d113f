"""Feeds of the stream LOG: they pass on entries in order, and insert graphs that were too large for a message."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from headrace.bus.bus import Bus
from headrace.bus.feed import Feed
from headrace.bus.frames import Record
from headrace.bus.reading import Claim, Entry, Reader
from headrace.errors import JetStreamRefused, NatsUnreachable, NewerSchema
from headrace.logs import get_log
from headrace_schemas import Assign, Ended, GraphSource, GraphSpec, LogMessage, Submitted, decoder
from headrace_schemas.limits import MAX_GRAPH_BYTES
from headrace_schemas.reading import Unreadable, read
from headrace_schemas.streams import GRAPHS, LOG

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing

log = get_log(__name__)

READING_SECONDS = 10.0
"""Seconds that leases last while a graph is read. A graph of `MAX_GRAPH_BYTES` takes a third of this."""
_REMEMBERED = 4
"""Decoded graphs that are kept: a host is assigned the graph that was submitted just before, and a scheduler reads both."""
OnEntries = Callable[[list[Entry]], None]
Select = Callable[[Record], bool]
_graph = decoder(GraphSpec)
_KEY = re.compile("[0-9a-f]{64}")
_WITH_GRAPH = (Submitted, Assign)


def graph_key(graph: bytes) -> str:
    """Return the key of an encoded graph in the object store: a hash of its bytes, so that nobody can replace it by another graph."""
    return hashlib.sha256(graph).hexdigest()


def _learn(tracing: Tracing, records: list[Record], entries: list[Entry | None]) -> None:
    """Learn the traces of the jobs that these messages are about, and which of the jobs are over.

    If a job's client creates no traces, the job still has a trace, the same one in every service.
    """
    headers = {record.seq: record.headers for record in records}
    for entry in entries:
        if entry is None:
            continue
        job = getattr(entry.message, "job", "")
        if not tracing.learn(job, headers[entry.seq]) and isinstance(entry.message, Submitted):
            tracing.adopt(job)
        if isinstance(entry.message, Ended):
            tracing.over(job)


def _read_graph(key: str, data: bytes) -> GraphSpec:
    """Decode the graph of an object. Raises Unreadable if it is not a graph, or not the graph of the key."""
    if graph_key(data) != key:
        raise Unreadable("it is not the graph that was submitted: its hash is not its key")
    graph: GraphSpec = read(_graph, data)
    return graph


def _seq(item: Entry | Claim) -> int:
    return item.seq if isinstance(item, Entry) else item.record.seq


def _unresolved(message: LogMessage) -> str:
    """Return the key of a message's graph if it is still in the object store, or nothing."""
    if type(message) in _WITH_GRAPH and (graph := message.graph) is not None and graph.inline is None:  # type: ignore[union-attr]
        return graph.key
    return ""


class LogFeed:
    """A feed of decoded entries, each once and in order.

    Submitted and Assign carry their graph inline, or none if the object store does not have it.

    The feed skips messages that it cannot read, see `reading`. A decision of a newer schema ends the feed: `ended` has NewerSchema.
    caught_up and last_seq mean the same as in Feed, and refer to the entries that were passed on.
    """

    def __init__(self, bus: Bus, on_entries: OnEntries, select: Select | None = None) -> None:
        self.caught_up = asyncio.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bus = bus
        self._objects = bus.objects(GRAPHS.name)
        self._reading = bus.reading
        self._terms = bus.terms
        self._reader = Reader(bus.reading)
        self._on_entries = on_entries
        self._select = select
        self._tracing = bus.tracing
        self._feed: Feed | None = None
        self._waiting: deque[Entry | Claim] = deque()
        self._graphs: dict[str, GraphSpec] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        bus: Bus,
        subjects: str | Iterable[str],
        on_entries: OnEntries,
        *,
        from_seq: int = 1,
        whole: bool = False,
        select: Select | None = None,
    ) -> LogFeed:
        """Follow the log on these subjects. select: whether to read a message on one of them. Other arguments as for Bus.follow."""
        feed = cls(bus, on_entries, select)
        inner = await bus.follow(LOG.name, subjects, feed._on_records, from_seq=from_seq, whole=whole)
        feed._attach(inner)
        return feed

    @property
    def last_seq(self) -> int:
        """Sequence of the last message passed on or skipped."""
        if self._waiting:
            return _seq(self._waiting[0]) - 1
        return self._feed.last_seq if self._feed is not None else 0

    async def settled(self) -> None:
        """Wait until everything that has arrived is passed on. Raises the error that ended the feed before that."""
        while self._fetching is not None:
            await self._fetching
        if self.ended.done():
            self.ended.result()

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
        if self._select is not None:
            records = list(filter(self._select, records))
        items: list[Entry | Claim] = []
        none_waits = self._fetching is None
        for record in records:
            item = self._reader.read(record)
            if item is not None:
                items.append(item)
                none_waits = none_waits and type(item) is Entry and not (type(item.message) in _WITH_GRAPH and _unresolved(item.message))
        if self._tracing is not None:
            _learn(self._tracing, records, [item if isinstance(item, Entry) else item.entry for item in items])
        if none_waits:
            if items:
                self._pass_on(items)  # type: ignore[arg-type]
            return
        self._waiting.extend(items)
        if self._fetching is not None:
            return
        ready = self._take_ready()
        if ready:
            self._pass_on(ready)
        if self._waiting:
            self._fetching = asyncio.ensure_future(self._resolve())

    def _pass_on(self, entries: list[Entry]) -> None:
        """Pass on entries, and count them. Their age matters only for those that arrived after the feed caught up."""
        reading = self._reading
        reading.entries += len(entries)
        reading.seq, reading.time = entries[-1].seq, entries[-1].time
        if self.caught_up.is_set():
            reading.lag.add(max(0.0, time.time() - entries[0].time))  # the server's clock may be ahead
        self._on_entries(entries)

    async def _resolve(self) -> None:
        """Pass on the waiting items, and resolve what each one needs first. After that, entries are passed on directly again."""
        try:
            while self._waiting:
                ready = self._take_ready()
                if not ready and self._waiting:
                    ready = await self._make_ready(self._waiting[0])
                if ready:
                    self._pass_on(ready)
        except NewerSchema as error:
            self._fail(error)
        except Exception as error:
            log.exception("the feed of the log ends: its reader failed")
            self._fail(error)
        finally:
            self._fetching = None

    def _fail(self, error: Exception) -> None:
        if self._feed is not None:
            self._feed.fail(error)

    def _take_ready(self) -> list[Entry]:
        """Remove and return the first waiting items that are ready. Raises NewerSchema."""
        ready: list[Entry] = []
        while self._waiting:
            item = self._waiting[0]
            if isinstance(item, Claim):
                if item.entry is None or not self._terms.known(item.service, item.term):
                    break
                entry = self._reader.settle(item, True)
            else:
                entry = item
            if entry is not None and _unresolved(entry.message):
                self._waiting[0] = entry
                break
            self._waiting.popleft()
            if entry is not None:
                ready.append(entry)
        return ready

    async def _make_ready(self, item: Entry | Claim) -> list[Entry]:
        """Resolve the first waiting item. Returns it if it can be passed on then. Raises NewerSchema."""
        if isinstance(item, Entry):
            await self._put_graph(item, _unresolved(item.message))
            self._waiting.popleft()
            return [item]
        entry = self._reader.settle(item, await self._may_count(item))
        if entry is None:
            self._waiting.popleft()
        else:
            self._waiting[0] = entry
        return []

    async def _may_count(self, claim: Claim) -> bool:
        """Return whether the service can have the term.

        For a decision of a newer schema, which ends this feed, the term has to be the present one; or, for what was stored before this feed
        started, any term of the service.
        """
        if claim.entry is not None:
            return await self._terms.check_term(claim.service, claim.term)
        latest = await self._terms.latest(claim.service)
        if self.caught_up.is_set() and latest:
            return claim.term == latest
        return await self._terms.check_term(claim.service, claim.term)

    async def _put_graph(self, entry: Entry, key: str) -> None:
        """Insert the graph into a message. If the graph is not available, the message is passed on without it."""
        message, graph = entry.message, None
        try:
            if not _KEY.fullmatch(key):
                raise Unreadable(f"{key!r:.80} is not the hash of a graph")
            if key not in self._graphs:
                self._graphs[key] = await self._fetch_graph(key)
                while len(self._graphs) > _REMEMBERED:
                    del self._graphs[next(iter(self._graphs))]
            graph = self._graphs[key]
        except (JetStreamRefused, Unreadable) as error:
            log.error("cannot get the graph of a message of the log", seq=entry.seq, subject=entry.subject, graph=key, error=error)
        if isinstance(message, Submitted | Assign) and (source := message.graph) is not None:
            message.graph = GraphSource(inline=graph, key=key, sink=source.sink)

    async def _fetch_graph(self, key: str) -> GraphSpec:
        """Fetch and decode a graph. Leases last longer meanwhile, because decoding the largest graph blocks all threads for seconds."""
        self._bus.long_work = READING_SECONDS
        try:
            return _read_graph(key, await self._fetch(key))
        finally:
            self._bus.long_work = 0.0

    async def _fetch(self, key: str) -> bytes:
        while True:
            try:
                return await self._objects.get(key, MAX_GRAPH_BYTES)
            except NatsUnreachable as error:
                log.warning("cannot get a graph at the moment; retrying", graph=key, error=error)
