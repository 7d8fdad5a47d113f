"""Messages that were sent and not answered yet: publishes, until JetStream acknowledges them, and requests to its API.

One subscription receives all answers: the reply subject of the n-th message is `<inbox>.<n>`. What gets no answer in time, or was being
sent when the connection was lost, is resent in the order of the calls, byte by byte the same. A publish carries a `Nats-Msg-Id`, so that a
stream keeps it once; API requests name what they create, so that repeating them does no harm.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import msgspec

from headrace.bus import frames
from headrace.bus.frames import Ack, Record
from headrace.bus.metrics import Publishing
from headrace.bus.settings import TIMES
from headrace.bus.storing import Storing
from headrace.bus.wire import Wire
from headrace.errors import HeadraceError, JetStreamRefused, NatsUnreachable, NoJetStream, PublishRefused, WrongRevision
from headrace.logs import get_log
from headrace_schemas.streams import LOG

log = get_log(__name__)

API = "$JS.API."
_PATIENCE = max(1, round(TIMES.ack_seconds / TIMES.tick_seconds))
"""Ticks without an answer after which something is resent. They are ticks, not seconds: a loop that was busy for seconds gets one tick, and
then reads its socket, where the answers are."""


class Reply(NamedTuple):
    """The answer to a request."""

    headers: bytes
    data: bytes


class _Refused(msgspec.Struct):
    error: frames.Refusal | None = None


_refused = msgspec.json.Decoder(_Refused)


class _Sent:
    __slots__ = ("frame", "future", "resent", "settle", "tick")

    def __init__(self, frame: bytes, future: asyncio.Future[Any], settle: Callable[[int, _Sent, bytes, bytes], None], tick: int) -> None:
        self.frame = frame
        self.future = future
        self.settle = settle
        self.tick = tick
        self.resent = False


class Outbox:
    """Sends messages, matches answers, and resends.

    inbox: the prefix of the reply subjects of this connection. storing: whether NATS stores messages (share: see `Storing`).
    """

    def __init__(self, wire: Wire, prefix: str, share: float = 1.0) -> None:
        self.inbox = f"{prefix}.{secrets.token_hex(5)}"
        self.counts = Publishing()
        self.waits_for_room = False
        """Whether a message for which LOG has no room is resent until it has room, instead of being refused."""
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, _Sent] = {}
        self._sent = 0
        self._tick = 0
        self._complained = -_PATIENCE - 1
        self._skip = len(self.inbox) + 1
        self.storing = Storing(share)
        self._checks: set[asyncio.Task[None]] = set()
        self._closed = False
        wire.listen(f"{self.inbox}.*", self._answered)

    def publish(self, subject: str, headers: str, data: bytes) -> asyncio.Future[int]:
        """Send a message with these header lines, which must have a Nats-Msg-Id. The future has its sequence, or PublishRefused."""
        limit = self._wire.max_payload
        if len(data) + len(headers) + 12 > limit:
            return self._too_large(subject, len(data), limit)
        return self._send(subject, headers, data, self._acknowledged)

    async def call(self, api: str, request: Any = None, timeout: float = TIMES.api_seconds) -> bytes:
        """Send a request to JetStream's API, and return the answer. timeout: seconds.

        Raises JetStreamRefused, NoJetStream, or NatsUnreachable if there is no answer in time.
        """
        return self.checked(api, (await self.ask(API + api, msgspec.json.encode(request) if request is not None else b"", timeout)).data)

    def start_call(self, api: str, request: Any) -> asyncio.Future[Reply]:
        """Send a request to JetStream's API without waiting; decode the answer with `checked`.

        It is resent until it is answered or cancelled.
        """
        return self._send(API + api, "", msgspec.json.encode(request), self._replied)

    async def ask(self, subject: str, data: bytes, timeout: float) -> Reply:
        """Send a request that may be repeated. Raises NatsUnreachable after `timeout` seconds without an answer."""
        future: asyncio.Future[Reply] = self._send(subject, "", data, self._replied)
        try:
            async with asyncio.timeout(timeout):  # not wait_for, which before Python 3.12 may lose a cancellation
                return await future
        except TimeoutError:
            raise NatsUnreachable(f"no answer to {subject} within {timeout:g} s") from None

    async def ask_once(self, subject: str, data: bytes, timeout: float) -> Reply:
        """Send a request once. Raises NatsUnreachable if nobody serves the subject or answers within `timeout` seconds."""
        future: asyncio.Future[Reply] = self._send(frames.check_subject(subject), "", data, self._answered_once)
        try:
            async with asyncio.timeout(timeout):  # not wait_for, which before Python 3.12 may lose a cancellation
                return await future
        except TimeoutError:
            raise NatsUnreachable(f"no answer to {subject} within {timeout:g} s") from None

    @staticmethod
    def checked(what: str, data: bytes) -> bytes:
        """Return an answer of the API if it is not an error. Raises JetStreamRefused or NoJetStream otherwise."""
        error = _refused.decode(data).error
        if error is None:
            return data
        if error.err_code in frames.NOT_ENABLED:
            raise NoJetStream(f"JetStream is turned off: {error.description}; start nats-server with -js, or enable it for the account")
        raise JetStreamRefused(f"JetStream refused {what}: {error.description} (code {error.err_code})", error.err_code)

    async def last(self, stream: str, subject: str) -> Record | None:
        """Return the last message of a subject, or None."""
        return await self._get(stream, {"last_by_subj": subject})

    async def first(self, stream: str, subject: str) -> Record | None:
        """Return the first message of a subject, or None."""
        return await self._get(stream, {"seq": 1, "next_by_subj": subject})

    async def at(self, stream: str, seq: int) -> Record | None:
        """Return the message at a sequence, or None."""
        return await self._get(stream, {"seq": seq})

    async def _get(self, stream: str, which: dict[str, Any]) -> Record | None:
        return self.found((await self.ask(f"{API}STREAM.MSG.GET.{stream}", msgspec.json.encode(which), TIMES.api_seconds)).data)

    def found(self, answer: bytes) -> Record | None:
        """Return the message in an answer of STREAM.MSG.GET, or None. Raises JetStreamRefused."""
        try:
            stored = _stored.decode(self.checked("to look for a message", answer)).message
        except JetStreamRefused as error:
            if error.code in frames.NOT_FOUND:
                return None
            raise
        return Record(stored.seq, frames.seconds(stored.time), stored.subject, stored.data, stored.hdrs)

    @property
    def is_waiting(self) -> bool:
        """Whether anything is unanswered."""
        return bool(self._waiting)

    @property
    def answers(self) -> int:
        """Number of messages that were answered or given up."""
        return self._sent - len(self._waiting)

    @property
    def unacknowledged(self) -> list[asyncio.Future[int]]:
        """The futures of publishes that wait for their acknowledgement, oldest first."""
        return [sent.future for sent in self._waiting.values() if sent.settle == self._acknowledged]

    def look_at_storing(self) -> None:
        """Watch whether NATS stores messages. Called every `TIMES.tick_seconds` while the connection is alive."""
        self.storing.tick(next((n for n, sent in self._waiting.items() if sent.settle == self._acknowledged), 0))

    def close(self) -> None:
        """Give up everything that waits or is sent from now on, so that no caller waits for ever."""
        self._closed = True
        for sent in self._waiting.values():
            _abandon(sent.future)
        self._waiting.clear()

    def give_up(self) -> None:
        """Stop resending unacknowledged publishes, and cancel their futures."""
        for n, sent in list(self._waiting.items()):
            if sent.settle == self._acknowledged:
                del self._waiting[n]
                sent.future.cancel()

    def tick(self) -> None:
        """Resend what has waited too long. Called every `TIMES.tick_seconds` while connected."""
        self._tick += 1
        if self._waiting:
            self._resend(self._tick - _PATIENCE)

    def resend_all(self) -> None:
        """Resend everything that was not answered, on a new connection."""
        self._resend(self._tick)

    def _resend(self, older: int) -> None:
        for n, sent in list(self._waiting.items()):
            if sent.future.done():  # its caller gave it up
                del self._waiting[n]
            elif sent.tick <= older and sent.settle != self._answered_once:
                sent.tick = self._tick
                sent.resent = True
                self.counts.repeated += sent.settle == self._acknowledged
                self._wire.send(sent.frame)

    def _send(self, subject: str, headers: str, data: bytes, settle: Callable[[int, _Sent, bytes, bytes], None]) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        if self._closed:
            _abandon(future)
            return future
        n = self._sent = self._sent + 1
        frame = frames.pub(subject, f"{self.inbox}.{n}", headers, data)
        self._waiting[n] = _Sent(frame, future, settle, self._tick)
        self._wire.send(frame)
        return future

    def _answered(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        n = int(subject[self._skip :])
        sent = self._waiting.get(n)
        if sent is not None:
            try:
                sent.settle(n, sent, headers, data)
            except Exception as error:  # no server gives such an answer; it must not end the reader
                log.exception("cannot read the answer to a message", frame=sent.frame[:80])
                self._done(n, sent, error=JetStreamRefused(f"cannot read the answer to a message: {error}"))

    def _acknowledged(self, n: int, sent: _Sent, headers: bytes, data: bytes) -> None:
        if self.storing.oldest in (n, 0):
            self.storing.answered()
        if frames.status(headers):
            self._not_taken(sent)
            return
        ack = frames.ack(data)
        if ack.error is None:
            self._stored(ack, sent)
            self._done(n, sent, ack.seq)
        elif ack.error.err_code in frames.TRANSIENT:
            self._soon(sent)
        elif ack.error.err_code in frames.WRONG_SEQUENCE and sent.resent:
            self._start(self._was_it_stored(n, sent, ack))
        elif self.waits_for_room and ack.error.err_code == frames.FULL and ack.stream in ("", LOG.name):
            self._no_room(sent, ack.error)
        else:
            self.counts.refused += ack.error.err_code not in frames.WRONG_SEQUENCE
            self._done(n, sent, error=_refusal(sent.frame, ack.error))

    def _not_taken(self, sent: _Sent) -> None:
        """Log, but not for each message, that a stream takes no message while it elects a leader, and resend the message."""
        if not sent.resent and self._tick - self._complained > _PATIENCE:
            self._complained = self._tick
            log.warning("no stream takes a message at the moment; retrying", subject=sent.frame.split(b" ", 2)[1].decode())
        self._soon(sent)

    def _no_room(self, sent: _Sent, error: frames.Refusal) -> None:
        """Keep a message for which the log has no room, to be resent after a while."""
        if not sent.resent:
            self.counts.refused += 1
            subject = sent.frame.split(b" ", 2)[1].decode()
            log.error("the log is full: a message waits until there is room", subject=subject, error=error.description)

    def _stored(self, ack: Ack, sent: _Sent) -> None:
        counts = self.counts
        counts.acknowledged += 1
        if ack.seq > counts.log_seq and ack.stream == LOG.name:
            counts.log_seq, counts.log_frame = ack.seq, sent.frame

    def _replied(self, n: int, sent: _Sent, headers: bytes, data: bytes) -> None:
        if frames.status(headers) == 503:
            self._soon(sent)
        else:
            self._done(n, sent, Reply(headers, data))

    def _answered_once(self, n: int, sent: _Sent, headers: bytes, data: bytes) -> None:
        if frames.status(headers) == 503:
            self._done(n, sent, error=NatsUnreachable(f"nobody serves {sent.frame.split(b' ', 2)[1].decode()}"))
        else:
            self._done(n, sent, Reply(headers, data))

    def _soon(self, sent: _Sent) -> None:
        """Resend the message with the next tick."""
        sent.tick = self._tick - _PATIENCE

    def _done(self, n: int, sent: _Sent, result: Any = None, error: Exception | None = None) -> None:
        self._waiting.pop(n, None)
        if sent.future.done():
            return
        if error is None:
            sent.future.set_result(result)
        else:
            sent.future.set_exception(error)

    async def _was_it_stored(self, n: int, sent: _Sent, ack: Ack) -> None:
        """Find out whether a repeated publish was stored before, if it found an unexpected last sequence.

        The server compares sequences before ids, so the unexpected sequence may be that of the publish itself.
        """
        refusal = ack.error or frames.Refusal()
        try:
            record = await self.last(ack.stream, sent.frame.split(b" ", 2)[1].decode())
        except HeadraceError:  # the publish still waits: it is resent, and this is tried again
            return
        if record is not None and frames.value_of(record.headers, b"Nats-Msg-Id") == frames.value_of(sent.frame, b"Nats-Msg-Id"):
            self.counts.acknowledged += 1
            self._done(n, sent, record.seq)
        else:
            self._done(n, sent, error=_refusal(sent.frame, refusal))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    def _too_large(self, subject: str, size: int, limit: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = self._loop.create_future()
        future.set_exception(
            PublishRefused(
                f"a message of {size:,} bytes on {subject} is larger than the {limit:,} bytes that the NATS server accepts: "
                "send it in parts or through the object store, or raise max_payload in the server's configuration"
            )
        )
        return future


def _abandon(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(NatsUnreachable("the bus was closed before this was acknowledged"))
        future.exception()  # mark it as retrieved, for callers that do not wait for it


class _Stored(msgspec.Struct):
    seq: int = 0
    subject: str = ""
    data: bytes = b""
    hdrs: bytes = b""
    time: str = ""


class _StoredAnswer(msgspec.Struct):
    message: _Stored


_stored = msgspec.json.Decoder(_StoredAnswer)


def _refusal(frame: bytes, error: frames.Refusal) -> PublishRefused:
    subject = frame.split(b" ", 2)[1].decode()
    text = f"a message on {subject} was refused: {error.description} (code {error.err_code})"
    if error.err_code in frames.WRONG_SEQUENCE:
        return WrongRevision(text, error.err_code)
    if "maximum" in error.description:
        text += "; the stream is full: wait until old jobs have aged out of it, or raise its limits (nats stream edit)"
    return PublishRefused(text, error.err_code)
