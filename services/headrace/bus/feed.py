"""Feeds: they pass every message of a stream to a plain function, once and in order."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

import msgspec

from headrace.bus import frames
from headrace.bus.backoff import Backoff
from headrace.bus.cursor import NEW, Cursor
from headrace.bus.frames import Record
from headrace.bus.metrics import Reading
from headrace.bus.outbox import Outbox, Reply
from headrace.bus.reach import Reach, matcher
from headrace.bus.settings import TIMES
from headrace.bus.wire import Wire
from headrace.errors import HeadraceError, NewerSchema
from headrace.logs import get_log

log = get_log(__name__)

OnRecords = Callable[[list[Record]], None]


class Feed(ABC):
    """The feed of a stream, as `Bus.follow` returns it.

    caught_up: set once everything that was in the stream at the opening has been passed on, even if nothing matched.
    ended: done when the feed is closed; has the exception if `on_records` raised one, which ends the feed.
    """

    def __init__(self, on_records: OnRecords) -> None:
        self.caught_up = asyncio.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_records = on_records

    @property
    @abstractmethod
    def last_seq(self) -> int:
        """Sequence of the last message passed on.

        Before the first message: the sequence before the start of the feed (-1: not known yet).
        """

    @abstractmethod
    def stop(self) -> None:
        """Pass on nothing more."""

    async def close(self) -> None:
        """End the feed. It passes on nothing more."""
        self.stop()
        if not self.ended.done():
            self.ended.set_result(None)

    def fail(self, error: Exception) -> None:
        """End the feed with an error of its reader."""
        self.stop()
        if not self.ended.done():
            self.ended.set_exception(error)

    def _pass_on(self, records: list[Record]) -> None:
        """Call the reader of the feed. An exception of the reader ends the feed, and goes no further."""
        try:
            self._on_records(records)
        except NewerSchema as error:  # no failure of this process; whoever waits for the end reports it
            self.fail(error)
        except Exception as error:
            log.exception("a feed ends: its reader failed on these messages", first=records[0].seq, last=records[-1].seq)
            self.fail(error)


class Followed(Protocol):
    """A subscription to one or more streams, merged in log order."""

    caught_up: asyncio.Event
    ended: asyncio.Future[None]


async def until_caught_up(feed: Followed) -> None:
    """Wait until a feed has passed on everything that existed at its opening, or is closed.

    Raises the error that ended the feed before that.
    """
    caught_up = asyncio.ensure_future(feed.caught_up.wait())
    waiting: list[asyncio.Future[Any]] = [caught_up, feed.ended]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        caught_up.cancel()
    if feed.ended.done():
        feed.ended.result()


class Source(msgspec.Struct, frozen=True):
    """The source of a feed.

    latest: at every opening, read the last message of every subject first, instead of all messages from `from_seq` on. whole: whether the
    feed may read the whole stream while it is behind, see `reach`.
    """

    stream: str
    subjects: tuple[str, ...]
    from_seq: int = 1
    latest: bool = False
    whole: bool = False


class Snapshot(ABC):
    """A listener of a feed with `latest`.

    It is told when the messages that follow are the state at an opening, and when they have been passed on.
    """

    @abstractmethod
    def begin_snapshot(self) -> None:
        """Note that a (new) snapshot follows."""

    @abstractmethod
    def end_snapshot(self) -> None:
        """It is complete: a key that was not in it is gone."""


class _Place(msgspec.Struct):
    consumer_seq: int = 0
    stream_seq: int = 0


class _Created(msgspec.Struct):
    delivered: _Place = msgspec.field(default_factory=_Place)
    num_pending: int = 0


_created = msgspec.json.Decoder(_Created)
_ids = count(1)
_CREATED = round(TIMES.create_seconds / TIMES.tick_seconds)
"""Ticks to wait for the answer to the request for a consumer."""
_LATE = round(1.5 * TIMES.heartbeat_seconds / TIMES.tick_seconds)
"""Ticks after which a heartbeat is late."""


class NatsFeed(Feed):
    """A feed on JetStream: an ordered push consumer. See `cursor` for how it stays complete."""

    def __init__(
        self,
        wire: Wire,
        outbox: Outbox,
        feeds: set[NatsFeed],
        reading: Reading,
        source: Source,
        on_records: OnRecords,
        snapshot: Snapshot | None = None,
    ) -> None:
        super().__init__(on_records)
        self._feeds = feeds
        self._reading = reading
        self._wire = wire
        self._outbox = outbox
        self._source = source
        self._snapshot = snapshot
        self._cursor = Cursor(source.from_seq)
        self._id = f"{outbox.inbox.rpartition('.')[2]}-{next(_ids)}"
        self._reach = Reach(source.whole and not source.latest)
        self._wanted = matcher(source.subjects)
        self._backoff = Backoff(self._id)
        self._generation = 0
        self._sid = 0
        self._creating: asyncio.Future[Reply] | None = None
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._batch: list[Record] = []
        self._complete = False
        self._silent = 0
        self._retry = 0

    @property
    def last_seq(self) -> int:
        """Sequence of the last message that was passed on."""
        return self._batch[0].seq - 1 if self._batch else self._cursor.last_seq

    @property
    def stream(self) -> str:
        """The stream that the feed reads."""
        return self._source.stream

    @property
    def is_silent(self) -> bool:
        """Whether a heartbeat is late."""
        return self._silent > _LATE and not self._retry

    async def open(self) -> None:
        """Open the feed, in one round trip. Raises JetStreamRefused if the stream or a subject is wrong."""
        self._feeds.add(self)
        self.reopen()
        try:
            await self._first
        except BaseException:
            self.stop()
            raise

    def reopen(self) -> None:
        """Request a new consumer, which continues after the last one."""
        if self.ended.done():
            return
        self.suspend()
        self._generation += 1
        self._silent = self._retry = 0
        if self._source.latest:
            self._cursor = Cursor(1)
            self._complete = False
            self._begin_snapshot()
        self._cursor.opening()
        deliver = f"{self._outbox.inbox}.{self._id}.{self._generation}"
        self._sid = self._wire.listen(deliver, self._receive)
        api = f"CONSUMER.CREATE.{self._source.stream}.{self._id}-{self._generation}"
        self._creating = self._outbox.start_call(api, {"stream_name": self._source.stream, "config": self._config(deliver)})
        self._creating.add_done_callback(self._opened)

    def suspend(self) -> None:
        """Stop listening to the present consumer; the server removes it by itself."""
        if self._sid:
            self._wire.unlisten(self._sid)
            self._sid = 0
        if self._creating is not None:
            self._creating.cancel()
            self._creating = None

    def stop(self) -> None:
        """End the feed for good."""
        self.suspend()
        if not self._first.done():  # a message of the opening ended it: `ended` has the reason
            self._first.set_result(None)
        self._batch.clear()
        self._feeds.discard(self)

    def tick(self) -> None:
        """Open the feed again after a failure or a silence, or with another reach. Called every `TIMES.tick_seconds` while connected."""
        self._backoff.tick()
        if self._retry:
            self._retry -= 1
            if not self._retry:
                self.reopen()
            return
        self._silent += 1
        if self._creating is not None and self._silent <= _CREATED:
            return
        if self._silent > self._backoff.silence:
            log.info("a stream is silent: opening the feed again", stream=self._source.stream, seconds=self._silent * TIMES.tick_seconds)
            self._backoff.failed()
            self._reading.reopened += 1
            self.reopen()
        elif self._creating is None and self._reach.tick():
            self.reopen()

    def _open_again(self) -> None:
        """Open the feed again because something is missing: at once if it is the first failure in a while."""
        self._reading.reopened += 1
        self._retry = self._backoff.failed()
        if self._retry:
            self.suspend()
        else:
            self.reopen()

    def _begin_snapshot(self) -> None:
        if self._batch:
            self._flush()
        if self._snapshot is not None:
            self._snapshot.begin_snapshot()

    def _config(self, deliver: str) -> dict[str, Any]:
        subjects = {} if self._reach.whole else {"filter_subjects": list(self._source.subjects)}
        return (
            self._where()
            | subjects
            | {
                "deliver_subject": deliver,
                "ack_policy": "none",
                "max_deliver": 1,
                "flow_control": True,
                "idle_heartbeat": int(TIMES.heartbeat_seconds * 1e9),
                "inactive_threshold": int(TIMES.inactive_seconds * 1e9),
                "mem_storage": True,
                "num_replicas": 1,
            }
        )

    def _where(self) -> dict[str, Any]:
        """Return the options that say from where the server delivers."""
        if self._source.latest:
            return {"deliver_policy": "last_per_subject"}
        if self._cursor.start == NEW:
            return {"deliver_policy": "new"}
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": self._cursor.start}

    def _opened(self, reply: asyncio.Future[Reply]) -> None:
        if reply is not self._creating or reply.cancelled():
            return
        self._creating = None
        try:
            created = _created.decode(self._outbox.checked(f"to read {self._source.stream}", reply.result().data))
        except HeadraceError as error:
            self._not_opened(error)
            return
        left = self._cursor.opened(created.delivered.stream_seq, created.delivered.consumer_seq, created.num_pending)
        self._announce()
        if not self._first.done():
            self._first.set_result(None)
        if self._reach.opened(left):
            self.reopen()

    def _not_opened(self, error: HeadraceError) -> None:
        if not self._first.done():
            self._first.set_exception(error)
        else:
            log.warning("cannot open the feed again; retrying", stream=self._source.stream, error=error)
            self._retry = max(1, self._backoff.failed())

    def _receive(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self._silent = 0
        if headers[8:9] == b" ":
            self._control(reply, headers)
            return
        seq, number, time, pending = frames.delivery(reply)
        if not self._cursor.advance(seq, number, pending):
            log.info("a message of a consumer is missing: opening the feed again", stream=self._source.stream, number=number - 1)
            self._open_again()
            return
        self._reach.pending = pending
        if self._reach.whole and not self._wanted(subject):
            self._pass_over()
            return
        if not self._batch:
            self._wire.defer(self._flush)
        self._batch.append(Record(seq, time * 1e-9, subject.decode(), data, headers))

    def _pass_over(self) -> None:
        """Drop a message that does not match the subjects."""
        self._reading.passed_over += 1
        if not self._complete and self._cursor.caught_up and not self._batch:
            self._wire.defer(self._announce)

    def _control(self, reply: bytes, headers: bytes) -> None:
        """Answer flow control once everything before it is passed on; check from a heartbeat whether messages were lost."""
        if reply:
            self._answer_flow_control(reply)
            return
        stalled = frames.value_of(headers, b"Nats-Consumer-Stalled")
        if stalled:
            self._answer_flow_control(stalled)
        delivered = frames.value_of(headers, b"Nats-Last-Consumer")
        if delivered and not self._cursor.heartbeat(int(delivered), bool(stalled)):
            log.info("the last messages of a stream are missing: opening the feed again", stream=self._source.stream)
            self._open_again()
        self._announce()

    def _answer_flow_control(self, reply: bytes) -> None:
        self._flush()
        self._wire.send(b"PUB %b 0\r\n\r\n" % reply)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch and not self.ended.done():
            self._pass_on(batch)
        self._announce()

    def _announce(self) -> None:
        if self._batch or self._complete or not self._cursor.caught_up or self.ended.done():
            return
        self._complete = True
        try:
            if self._snapshot is not None:
                self._snapshot.end_snapshot()
        except Exception as error:
            log.exception("a feed ends: its reader failed on deleted keys", stream=self._source.stream)
            self.fail(error)
        self.caught_up.set()
