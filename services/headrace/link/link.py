"""One link: it joins the parser, the handshake and the sender to an asyncio transport.

The transport reads straight into the memory that the parser names; for a `Data` payload, that is memory of the link's owner. Anything
invalid that arrives ends only this link, with a reason in the log.
"""

import asyncio
import socket
from typing import Final, Protocol, TypeAlias, cast

from headrace.link.admission import Admission
from headrace.link.errors import LinkClosed, LinkError, LinkRefused, MalformedFrame
from headrace.link.frames import Data, Frame, HandshakeFrame
from headrace.link.framing import Parser, Place, pack
from headrace.link.handshake import Handshake, Peer
from headrace.link.sending import Sender
from headrace.link.settings import (
    ANSWERING_MS,
    ASKING_MS,
    HANDSHAKE_DEADLINE_S,
    KEEPALIVE_IDLE_S,
    KEEPALIVE_INTERVAL_S,
    KEEPALIVE_PROBES,
)
from headrace.link.write_queue import Sent
from headrace.logs import get_log

log: Final = get_log(__name__)

Payload: TypeAlias = memoryview | bytes | bytearray


class Handler(Protocol):
    """The owner of links. All calls come from the event loop's thread. An exception of the owner is logged, and ends only that link."""

    def link_opened(self, link: "Link") -> None:
        """Called when the peer has proved its identity: the link can be used."""

    def link_closed(self, link: "Link", reason: str) -> None:
        """Called exactly once when an opened link has ended, for any reason."""

    def frame_received(self, link: "Link", frame: Frame, payload: memoryview) -> None:
        """Called with a frame. `payload` is valid only during the call, except for `Data`, where it is the filled memory of `data_sink`."""

    def data_sink(self, link: "Link", frame: Data, nbytes: int) -> memoryview | Place | None:
        """Return writable, contiguous memory of exactly `nbytes` bytes for the payload; None if it was not granted, which ends the link.

        The link writes to it until it calls `frame_received` for it, or until the link ends: by `close`, or as `link_closed` reports.
        """


class Link(asyncio.BufferedProtocol):
    """A connection to another process of the data plane. `serve` and `connect` create links.

    `peer`, `role`, `epoch` and `job` are the proved identity of the other side; a link with a `job` may name no other one. They raise
    `LinkError` before the link is open. The owner must not call the methods that asyncio's transports call.
    """

    def __init__(self, handler: Handler, handshake: Handshake, admission: "Admission[Link] | None" = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._handler = handler
        self._handshake = handshake
        self._admission = admission
        self._proved: Peer | None = None
        self._parser = Parser(self._on_frame, self._sink)
        self._sender = Sender(self._loop)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._name = "an unknown peer"  # for messages: its address, and once proved its role and name
        self._reason: str | None = None  # why the link has ended, or is ending

    @property
    def peer(self) -> str:
        """The other side's name."""
        return self._who.peer

    @property
    def role(self) -> str:
        """The other side's role."""
        return self._who.role

    @property
    def epoch(self) -> int:
        """The other side's epoch."""
        return self._who.epoch

    @property
    def job(self) -> str | None:
        """The only job that this link may name; None for any."""
        return self._who.job

    @property
    def closed(self) -> bool:
        """Whether the link has ended or is ending, so that nothing more can be sent."""
        return self._reason is not None

    @property
    def queued_bytes(self) -> int:
        """Bytes that were sent but not yet written to the socket, including payloads."""
        return self._sender.queued_bytes

    def send(self, frame: Frame, *payload: Payload, on_sent: Sent | None = None) -> None:
        """Send `frame` and its payload, one buffer after the other, without joining or copying them.

        Small frames keep their order, and go before `Data` that has not started; `Data` frames keep theirs, and are written as the socket
        drains. Do not change the payload's memory until `on_sent` is called, exactly once and never from within this call: with True when
        it has been written, with False if the link ended first.

        Raises `LinkClosed` if the link has ended, `MalformedFrame` if the peer would refuse the frame, and `ValueError` if it names a job
        that is not the link's.
        """
        job = self._who.job
        self._check_open()
        if job is not None and frame.job != job:
            raise ValueError(f"a frame of job {frame.job!r} on a link of job {job!r}")
        views = tuple(_as_bytes(memoryview(buffer)) for buffer in payload)
        header = pack(frame, sum(view.nbytes for view in views))
        self._sender.add(header, views, on_sent, large=isinstance(frame, Data))

    async def drain(self, limit: int = 0) -> None:
        """Wait until no more than `limit` bytes are queued. Raises `LinkClosed` if the link ends before that."""
        self._check_open()
        await self._sender.drain(limit)

    def close(self, reason: str = "closed on this side") -> None:
        """End the link now, and drop what is queued (`await drain()` first to have it written). May be called again.

        Nothing is written to the memory of a sink after this.
        """
        if self._reason is not None:
            return
        self._reason = reason
        self._parser.stop()
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read nothing more from the socket until `resume`, so that the peer has to wait. Data that was already read still arrives."""
        if self._transport is not None and self._reason is None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Continue to read after `pause`."""
        if self._transport is not None and self._reason is None:
            self._transport.resume_reading()

    async def opened(self) -> None:
        """Wait until the peer has proved its identity. Raises `LinkRefused` if it does not."""
        await asyncio.shield(self._opened)

    # Methods that the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        self._name = f"{address[0]}:{address[1]}" if address else self._name
        if self._reason is not None:  # closed during its creation
            self._transport.abort()
            return
        self._come_in()
        _set_options(transport.get_extra_info("socket"), accepted=self._admission is not None)
        self._sender.attach(self._transport)
        self._deadline = self._loop.call_later(HANDSHAKE_DEADLINE_S, self._fail, f"no proof within {HANDSHAKE_DEADLINE_S:g} s")
        self._say(self._handshake.begin())

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory to read into."""
        return self._parser.writable()

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the bytes that were read."""
        try:
            self._parser.received(nbytes)
        except LinkError as error:
            self._fail(str(error))
        except Exception as error:
            log.exception("a link ends: its owner failed on received data", peer=self._name)
            self.close(f"its owner failed on received data: {error!r}")

    def eof_received(self) -> None:
        """Let the transport close, because the peer sends no more."""
        if self._parser.in_frame:
            self._fail("the other side ended the connection in the middle of a frame")

    def connection_lost(self, exc: Exception | None) -> None:
        """End the link, and notify everybody who waits for it."""
        if self._reason is None:
            self._reason = f"connection lost: {exc}" if exc else "the other side ended the connection"
        self._parser.stop()
        self._transport = None
        if self._admission is not None:
            self._admission.left(self)
        self._end_deadline()
        self._sender.detach(f"the link to {self._name} has ended: {self._reason}")
        if self._proved is None:
            self._refuse()
        else:
            self._tell_closed(self._reason)

    def pause_writing(self) -> None:
        """Pause sending, because the transport could not write everything at once."""
        self._sender.pause()

    def resume_writing(self) -> None:
        """Continue sending, because the transport has written everything."""
        self._sender.resume()

    # Private methods.

    @property
    def _who(self) -> Peer:
        if self._proved is None:
            raise LinkError("the link is not open yet: the peer has not proved its identity")
        return self._proved

    def _check_open(self) -> None:
        if self._reason is not None:
            raise LinkClosed(f"the link to {self._name} has ended: {self._reason}")

    def _on_frame(self, frame: Frame | HandshakeFrame, payload: memoryview) -> None:
        if self._proved is None:
            self._shake(cast(HandshakeFrame, frame))
            return
        self._check_job(cast(Frame, frame))
        self._handler.frame_received(self, cast(Frame, frame), payload)

    def _sink(self, frame: Data, nbytes: int) -> memoryview | Place:
        self._check_job(frame)
        target = self._handler.data_sink(self, frame, nbytes)
        if target is None:
            raise MalformedFrame(f"{nbytes} bytes of dataset {frame.dataset}, attempt {frame.attempt}, which were not granted")
        memory = target.memory if isinstance(target, Place) else target
        if memory is None:
            return target
        if memory.readonly or not memory.c_contiguous or memory.nbytes != nbytes:
            raise ValueError(f"the sink for {nbytes} bytes has {memory.nbytes}, or is not writable and contiguous")
        return Place(_as_bytes(memory), target.write) if isinstance(target, Place) else _as_bytes(memory)

    def _check_job(self, frame: Frame) -> None:
        job = self._who.job
        if job is not None and frame.job != job:
            raise MalformedFrame(f"a {type(frame).__name__} frame of job {frame.job!r} on a link of job {job!r}")

    def _shake(self, frame: HandshakeFrame) -> None:
        self._say(self._handshake.received(frame))
        if self._handshake.peer is None:
            return
        if self._admission is not None and not self._admission.proved(self, self._handshake.peer):
            raise LinkRefused(f"{self._handshake.peer.peer!r} has {self._admission.most_of_a_peer} links, and must close one first")
        self._proved = self._handshake.peer
        self._name = f"{self.role} {self.peer!r}"
        self._parser.open()
        self._end_deadline()
        self._opened.set_result(None)
        self._handler.link_opened(self)

    def _come_in(self) -> None:
        """Count an accepted link. If too many links are unauthenticated, end the one that has waited longest."""
        silent = self._admission.came(self) if self._admission is not None else None
        if silent is not None:
            silent.close("it had not proved its identity, and others wait to do so")

    def _say(self, frame: HandshakeFrame | None) -> None:
        if frame is not None:
            self._sender.add(pack(frame), (), None, large=False)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _fail(self, reason: str) -> None:
        if self._reason is None and self._proved is not None:
            log.warning("a link ends", peer=self._name, error=reason)
        self.close(reason)

    def _refuse(self) -> None:
        log.warning("a link is not opened", peer=self._name, error=self._reason)
        self._opened.set_exception(LinkRefused(f"no link to {self._name}: {self._reason}"))
        self._opened.exception()  # mark it as retrieved: nobody awaits it on the accepting side

    def _tell_closed(self, reason: str) -> None:
        try:
            self._handler.link_closed(self, reason)
        except Exception:
            log.exception("the owner of a link failed when the link ended", peer=self._name)


def _as_bytes(view: memoryview) -> memoryview:
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _set_options(connection: socket.socket, accepted: bool) -> None:
    """Send without delay, and let the kernel probe whether the peer is alive."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux; other systems keep their defaults
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ANSWERING_MS if accepted else ASKING_MS)
