"""The bus in one process, without a server, for unit tests. It has the same interface, order, deduplication and compare-and-set.

All users of a `MemoryBus` share its streams. Messages reach followers in the next turn of the loop, coalesced like those of NATS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

from headrace.bus import frames
from headrace.bus.bus import Beside, Bus, Consumption, Handler, OnRequest
from headrace.bus.cursor import NEW
from headrace.bus.feed import Feed, OnRecords, Snapshot, Source
from headrace.bus.frames import Record
from headrace.errors import JetStreamRefused, NatsUnreachable, RemoteError, WrongRevision
from headrace.telemetry import Metrics, no_metrics
from headrace.usage import Usage
from headrace_schemas import streams

_MISSING_STREAM = 10059
_MARKER = b"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n"


def matches(pattern: str, subject: str) -> bool:
    """Return whether a subject matches a pattern with `*` for one token and `>` for one or more at the end."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))


class _Stream:
    """The messages of a stream, in order. only_last: keep only the last message of each subject, as in a bucket."""

    def __init__(self, name: str, subjects: list[str], only_last: bool = False) -> None:
        self.name = name
        self.subjects = subjects
        self.records: list[Record] = []
        self.last: dict[str, Record] = {}
        self.ids: dict[str, int] = {}
        self.last_seq = 0
        self.feeds: set[MemoryFeed] = set()
        self._only_last = only_last

    def add(self, subject: str, headers: bytes, data: bytes) -> int:
        """Store a message, unless its id is known, and show it to the feeds."""
        msg_id = frames.value_of(headers, b"Nats-Msg-Id").decode()
        if msg_id in self.ids:
            return self.ids[msg_id]
        self.last_seq += 1
        record = Record(self.last_seq, time.time(), subject, data, headers)
        if self._only_last and subject in self.last:
            self.records.remove(self.last[subject])
        self.last[subject] = record
        self.records.append(record)
        if msg_id:
            self.ids[msg_id] = record.seq
        for feed in self.feeds:
            feed.offer(record)
        return record.seq

    def remove(self, subject: str) -> None:
        """Remove the messages of a subject."""
        self.records = [record for record in self.records if record.subject != subject]
        self.last.pop(subject, None)


class MemoryFeed(Feed):
    """A feed on a stream in memory."""

    def __init__(self, stream: _Stream, source: Source, on_records: OnRecords, snapshot: Snapshot | None) -> None:
        super().__init__(on_records)
        self._stream = stream
        self._source = source
        self._snapshot = snapshot
        self._batch: list[Record] = []
        first = stream.last_seq + 1 if source.from_seq == NEW else source.from_seq
        self._last_seq = first - 1
        if snapshot is not None:
            snapshot.begin_snapshot()
        for record in stream.records:
            if record.seq >= first and (not source.latest or stream.last[record.subject] is record):
                self.offer(record)
        stream.feeds.add(self)
        if not self._batch:
            self._schedule()

    @property
    def last_seq(self) -> int:
        return self._last_seq

    def stop(self) -> None:
        self._stream.feeds.discard(self)
        self._batch.clear()

    def offer(self, record: Record) -> None:
        """Pass on a stored message soon, if it matches."""
        if any(matches(pattern, record.subject) for pattern in self._source.subjects):
            if not self._batch:
                self._schedule()
            self._batch.append(record)

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch and not self.ended.done():
            self._last_seq = batch[-1].seq
            self._pass_on(batch)
        if not self.ended.done() and not self.caught_up.is_set():
            if self._snapshot is not None:
                self._snapshot.end_snapshot()
            self.caught_up.set()


class _MemoryQueue(Consumption):
    """A work queue: it removes messages that are done, and delivers those that failed again."""

    def __init__(self, stream: _Stream, on_request: OnRequest) -> None:
        self._stream = stream
        self._on_request = on_request
        self._feed = MemoryFeed(stream, Source(stream.name, tuple(stream.subjects)), self._take, None)

    async def close(self) -> None:
        await self._feed.close()

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            work = asyncio.ensure_future(self._on_request(record))
            work.add_done_callback(lambda done, record=record: self._finished(record, done))  # type: ignore[misc]

    def _finished(self, record: Record, work: asyncio.Future[object]) -> None:
        if not work.cancelled() and work.exception() is None:
            self._stream.records.remove(record)
        else:
            self._feed.offer(record)


class MemoryBus(Bus):
    """The bus without a server, see Bus. `close` keeps its contents, so that another service of a test can continue."""

    def __init__(self) -> None:
        super().__init__()
        self._streams = {s.name: s for s in _contract()}
        self._handlers: dict[str, Handler] = {}

    @property
    def connected(self) -> bool:
        return True

    async def ensure_streams(self) -> None:
        """Nothing to do: they are there."""

    async def ensure_buckets(self) -> None:
        """Nothing to do: they are there."""

    async def flush_acks(self, timeout: float) -> None:
        """Nothing to wait for: what is published is stored."""

    async def requests(self, stream: str, durable: str, on_request: OnRequest) -> Consumption:
        return _MemoryQueue(self._stream(stream), on_request)

    async def serve(self, name: str, description: str, endpoints: Mapping[str, Handler], metrics: Metrics = no_metrics) -> None:
        for endpoint, handler in endpoints.items():
            self._handlers[f"headrace.service.{name}.{endpoint}"] = handler

    async def request(self, subject: str, data: bytes = b"", timeout: float = 1.0) -> bytes:
        handler = self._handlers.get(subject)
        if handler is None:
            raise NatsUnreachable(f"nobody serves {subject}")
        try:
            return await handler(data)
        except Exception as error:
            raise RemoteError(f"{subject} answered with an error: {type(error).__name__}: {error}") from None

    async def usage(self, stream: str) -> Usage:
        return Usage(sum(len(record.data) for record in self._stream(stream).records), 0)

    async def close(self) -> None:
        """Nothing to disconnect from."""

    def _beside(self, work: Beside, after: float) -> asyncio.Future[None]:
        return asyncio.ensure_future(work(self, asyncio.get_running_loop()))

    def _store(self, subject: str, headers: str, data: bytes) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        block = f"NATS/1.0\r\n{headers}\r\n".encode()
        try:
            future.set_result(self._add(subject, block, data))
        except JetStreamRefused as error:
            future.set_exception(error)
        return future

    async def _follow(self, source: Source, on_records: OnRecords, snapshot: Snapshot | None = None) -> Feed:
        return MemoryFeed(self._stream(source.stream), source, on_records, snapshot)

    async def _last(self, stream: str, subject: str) -> Record | None:
        return self._stream(stream).last.get(subject)

    async def _first(self, stream: str, subject: str) -> Record | None:
        return next((record for record in self._stream(stream).records if record.subject == subject), None)

    async def _at(self, stream: str, seq: int) -> Record | None:
        return next((record for record in self._stream(stream).records if record.seq == seq), None)

    async def _purge(self, stream: str, subject: str) -> None:
        self._stream(stream).remove(subject)

    def _stream(self, name: str) -> _Stream:
        if name not in self._streams:
            raise JetStreamRefused(f"there is no stream {name}", _MISSING_STREAM)
        return self._streams[name]

    def _add(self, subject: str, headers: bytes, data: bytes) -> int:
        stream = next((s for s in self._streams.values() if any(matches(p, subject) for p in s.subjects)), None)
        if stream is None:
            raise JetStreamRefused(f"no stream takes {subject}", _MISSING_STREAM)
        expected = frames.value_of(headers, b"Nats-Expected-Last-Subject-Sequence")
        present = stream.last[subject].seq if subject in stream.last else 0
        if expected and int(expected) != present:
            raise WrongRevision(f"a message on {subject} was refused: its last sequence is {present}, not {int(expected)}")
        if frames.value_of(headers, b"Nats-Rollup"):
            stream.remove(subject)
        seq = stream.add(subject, headers, data)
        ttl = frames.value_of(headers, b"Nats-TTL")
        if ttl:
            asyncio.get_running_loop().call_later(float(ttl.rstrip(b"s")), self._expire, stream, subject, seq)
        return seq

    def _expire(self, stream: _Stream, subject: str, seq: int) -> None:
        if subject in stream.last and stream.last[subject].seq == seq:
            stream.add(subject, _MARKER, b"")


def _contract() -> list[_Stream]:
    kept = [_Stream(spec.name, spec.subjects) for spec in streams.STREAMS if spec.subjects]
    buckets = [_Stream(f"KV_{spec.name}", [f"$KV.{spec.name}.>"], only_last=True) for spec in streams.BUCKETS]
    stores = [_Stream(f"OBJ_{spec.name}", [f"$O.{spec.name}.>"]) for spec in streams.OBJECT_STORES]
    return kept + buckets + stores
