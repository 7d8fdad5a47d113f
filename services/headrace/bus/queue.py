"""Work queues, whose messages are each taken by one consumer, and removed once they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headrace.bus import frames
from headrace.bus.bus import Consumption, OnRequest
from headrace.bus.frames import Record
from headrace.bus.outbox import Outbox, Reply
from headrace.bus.wire import Wire
from headrace.errors import HeadraceError
from headrace.logs import get_log

log = get_log(__name__)

_ACK_WAIT = 30.0
"""Seconds until a message that was neither done nor refused is delivered again, because its consumer is considered dead."""
_IN_FLIGHT = 1000
"""Most messages that are delivered and not yet done."""
_AGAIN = 1.0
"""Seconds after which a message whose handling failed is delivered again."""


class Queue(Consumption):
    """A durable push consumer with explicit acknowledgement. All users of its name share it through a queue group."""

    def __init__(self, wire: Wire, outbox: Outbox, queues: set[Queue], stream: str, durable: str, on_request: OnRequest) -> None:
        self._wire = wire
        self._outbox = outbox
        self._queues = queues
        self._stream = stream
        self._durable = durable
        self._on_request = on_request
        self._sid = 0
        self._working: dict[int, asyncio.Future[object]] = {}
        self._reopening: asyncio.Future[Reply] | None = None

    async def open(self) -> None:
        """Start to consume. Raises JetStreamRefused if the stream is missing."""
        self._sid = self._wire.listen(self._deliver, self._receive, queue=self._durable)
        self._queues.add(self)
        try:
            await self._outbox.call(self._api, {"stream_name": self._stream, "config": self._config()})
        except BaseException:
            await self.close()
            raise

    def reopen(self) -> None:
        """Create the consumer again after a reconnection, because the server may have lost it. This does no harm if it exists."""
        self._reopening = self._outbox.start_call(self._api, {"stream_name": self._stream, "config": self._config()})
        self._reopening.add_done_callback(self._reopened)

    async def close(self) -> None:
        """Stop taking messages. The consumer stays, for others that work on the same queue."""
        self._queues.discard(self)
        if self._sid:
            self._wire.unlisten(self._sid)
            self._sid = 0

    @property
    def _deliver(self) -> str:
        return f"_headrace.deliver.{self._stream}.{self._durable}"

    @property
    def _api(self) -> str:
        return f"CONSUMER.CREATE.{self._stream}.{self._durable}"

    def _config(self) -> dict[str, object]:
        return {
            "name": self._durable,
            "durable_name": self._durable,
            "deliver_subject": self._deliver,
            "deliver_group": self._durable,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(_ACK_WAIT * 1e9),
            "max_ack_pending": _IN_FLIGHT,
        }

    def _reopened(self, reply: asyncio.Future[Reply]) -> None:
        if reply.cancelled():
            return
        try:
            self._outbox.checked(f"to consume {self._stream}", reply.result().data)
        except HeadraceError as error:
            log.error("a stream can no longer be consumed", stream=self._stream, error=error)

    def _receive(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if headers[8:9] == b" ":
            return
        seq, _, time, _ = frames.delivery(reply)
        if seq in self._working:  # delivered again while it is in progress
            return
        try:
            work = asyncio.ensure_future(self._on_request(Record(seq, time * 1e-9, subject.decode(), data, headers)))
        except Exception as error:
            self._failed(reply, seq, error)
            return
        self._working[seq] = work
        work.add_done_callback(self._finished(reply, seq))

    def _finished(self, reply: bytes, seq: int) -> Callable[[asyncio.Future[object]], None]:
        def finished(work: asyncio.Future[object]) -> None:
            self._working.pop(seq, None)
            if work.cancelled():
                self._failed(reply, seq, asyncio.CancelledError())
            elif (error := work.exception()) is not None:
                self._failed(reply, seq, error)
            else:
                self._answer(reply, b"+ACK")

        return finished

    def _failed(self, reply: bytes, seq: int, error: BaseException) -> None:
        log.error("a request failed and will be delivered again", stream=self._stream, seq=seq, seconds=_AGAIN, exc_info=error)
        self._answer(reply, b'-NAK {"delay": %d}' % int(_AGAIN * 1e9))

    def _answer(self, reply: bytes, verdict: bytes) -> None:
        self._wire.send(b"PUB %b %d\r\n%b\r\n" % (reply, len(verdict), verdict))
