"""Converts frames to bytes and back, without any I/O.

`pack` makes the bytes in front of a payload. `Parser` says where to put arriving bytes (`writable`), is told that they have arrived
(`received`), and calls its owner with every complete frame. It parses small frames in place, in one reused buffer. A large payload is
received straight into memory that the owner provides:

    prefix, header, payload all in the buffer    -> on_frame(header, view of the buffer)
    `Data`                                       -> sink(header, length), fill the memory that it returns, on_frame(header, memory)
    `Data`, the sink returns a `Place`           -> the same, through another buffer and the place's `write`
    too large for the buffer                     -> the same in a longer buffer, which grows with the bytes that arrive

Invalid bytes raise `MalformedFrame`. After that, or after `stop`, a parser accepts nothing more.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

import msgspec

from headrace.link.errors import MalformedFrame
from headrace.link.frames import Data, Frame, HandshakeFrame, Values, columns_differ
from headrace.link.settings import (
    HANDSHAKE_BUFFER_BYTES,
    MAX_HANDSHAKE_BYTES,
    MAX_HEADER_BYTES,
    MAX_VALUES_BYTES,
    PASSAGE_BYTES,
    RECEIVE_BUFFER_BYTES,
)

PREFIX: Final = Struct("<IQ")
"""The prefix of a frame: length of the header and length of the payload, in bytes."""

_EMPTY: Final = memoryview(b"")
_SCRAP: Final = memoryview(bytearray(4096))
"""Memory for bytes that arrive on ended links and are ignored."""
_encoder: Final = msgspec.msgpack.Encoder()
_handshake_decoder: Final[msgspec.msgpack.Decoder[HandshakeFrame]] = msgspec.msgpack.Decoder(HandshakeFrame)
_frame_decoder: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)


OnFrame: TypeAlias = Callable[[Frame | HandshakeFrame, memoryview], None]
"""A function that is called with every complete frame. The payload of `Data` is the sink's memory; any other is valid only during the call.
"""


class Place(NamedTuple):
    """Memory that calls of `write` fill, with bytes and their offset: cheaper than touching new pages.

    Without memory (None), `write` passes the bytes on, and `on_frame` gets no payload.
    """

    memory: memoryview | None
    write: Callable[[memoryview, int], None]


Sink: TypeAlias = Callable[[Data, int], "memoryview | Place"]
"""A function that is called with a `Data` header and the length of its payload; returns writable memory of exactly that many bytes."""


def pack(frame: Frame | HandshakeFrame, payload_bytes: int = 0) -> bytearray:
    """Return prefix and header of `frame`, for a payload of `payload_bytes` bytes.

    Raises `MalformedFrame` if the peer would refuse it: the header or payload is too long, or columns or lengths do not agree.
    """
    out = bytearray(PREFIX.size)
    _encoder.encode_into(frame, out, PREFIX.size)
    length = len(out) - PREFIX.size
    limit = MAX_HANDSHAKE_BYTES if isinstance(frame, HandshakeFrame) else MAX_HEADER_BYTES
    if length > limit:
        raise MalformedFrame(f"a {type(frame).__name__} header of {length} bytes, more than {limit}: split it, or use shorter names")
    _check(frame, payload_bytes)
    PREFIX.pack_into(out, 0, length, payload_bytes)
    return out


def _check(frame: Frame | HandshakeFrame, payload_bytes: int) -> None:
    name = type(frame).__name__
    if isinstance(frame, HandshakeFrame):
        expected = 0
    elif columns_differ(frame):
        raise MalformedFrame(f"a {name} frame whose columns differ in length")
    elif isinstance(frame, Data):
        return
    else:
        expected = sum(frame.lengths) if isinstance(frame, Values) else 0
    if payload_bytes != expected:
        raise MalformedFrame(f"a {name} frame with a payload of {payload_bytes} bytes instead of {expected}")
    if payload_bytes > MAX_VALUES_BYTES:
        raise MalformedFrame(f"a {name} frame with a payload of {payload_bytes} bytes, more than {MAX_VALUES_BYTES}")


class Parser:
    """The receiving half of a link. It accepts only frames of the handshake, until `open` is called."""

    def __init__(self, on_frame: OnFrame, sink: Sink) -> None:
        self._on_frame = on_frame
        self._sink = sink
        self._decoder: msgspec.msgpack.Decoder[Frame] | msgspec.msgpack.Decoder[HandshakeFrame] = _handshake_decoder
        self._header_limit = MAX_HANDSHAKE_BYTES
        self._home = memoryview(bytearray(HANDSHAKE_BUFFER_BYTES))
        self._buffer = self._home  # or a longer one, for a header that does not fit into home
        self._start = 0  # _buffer[_start:_end] has arrived and is not yet parsed
        self._end = 0
        self._needed = PREFIX.size  # bytes from _start on that the next step needs
        self._frame: Frame | HandshakeFrame | None = None  # a frame whose header is parsed, but whose payload is incomplete
        self._body = 0  # where that payload begins, counted from _start
        self._payload: memoryview | None = None  # memory being filled with a payload
        self._length = 0  # bytes of that payload, and how many of them have arrived
        self._filled = 0
        self._write: Callable[[memoryview, int], None] | None = None  # how it is filled, if not in place
        self._passage = _EMPTY  # the buffer for such a payload
        self._stopped = False

    @property
    def in_frame(self) -> bool:
        """Whether a frame has arrived in part."""
        return self._payload is not None or self._frame is not None or self._end > self._start

    def open(self) -> None:
        """Accept the frames of an authenticated link, from the next frame on. May be called from within `on_frame`."""
        self._decoder = _frame_decoder
        self._header_limit = MAX_HEADER_BYTES
        self._home = memoryview(bytearray(RECEIVE_BUFFER_BYTES))

    def stop(self) -> None:
        """Accept nothing more, and release all buffers. May be called from within `on_frame` and `sink`."""
        self._stopped = True
        self._payload = None
        self._home = self._buffer = self._passage = _EMPTY
        self._start = self._end = 0
        self._frame = None

    def writable(self) -> memoryview:
        """Return the memory for the next bytes; never empty."""
        if self._stopped:
            return _SCRAP
        if self._payload is not None:
            return self._payload[self._filled :] if self._write is None else self._passage[: self._length - self._filled]
        return self._buffer[self._end :]

    def received(self, nbytes: int) -> None:
        """Process `nbytes` bytes at the start of the memory that `writable` returned last.

        Raises `MalformedFrame` if they are not frames, and any exception of `on_frame` and `sink`.
        """
        if self._stopped:
            return
        try:
            self._advance(nbytes)
        except BaseException:
            self.stop()
            raise

    def _advance(self, nbytes: int) -> None:
        if self._payload is not None:
            if self._write is not None:
                self._write(self._passage[:nbytes], self._filled)
            self._filled += nbytes
            self._deliver_if_filled()
            return
        self._end += nbytes
        while self._end - self._start >= self._needed and not self._stopped:
            self._step()
        if not self._stopped and self._payload is None:
            self._make_room()

    def _step(self) -> None:
        if self._frame is not None:
            self._deliver_in_place()
            return
        header, payload = PREFIX.unpack_from(self._buffer, self._start)
        if not 0 < header <= self._header_limit:
            raise MalformedFrame(f"a header of {header} bytes, where 1 to {self._header_limit} are allowed")
        self._body = PREFIX.size + header
        if self._end - self._start < self._body:
            self._needed = self._body
            return
        frame = self._decode(self._buffer[self._start + PREFIX.size : self._start + self._body])
        _check(frame, payload)
        self._begin_payload(frame, payload)

    def _decode(self, header: memoryview) -> Frame | HandshakeFrame:
        try:
            return self._decoder.decode(header)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError) as error:
            raise MalformedFrame(f"a header of {len(header)} bytes that is not a frame allowed at this point: {error}") from error

    def _begin_payload(self, frame: Frame | HandshakeFrame, nbytes: int) -> None:
        self._frame = frame
        self._needed = self._body + nbytes
        if isinstance(frame, Data):
            self._fill(self._sink(frame, nbytes), nbytes)

    def _fill(self, target: memoryview | Place, nbytes: int) -> None:
        """Receive the next `nbytes` bytes into `target`, beginning with those that are already in the buffer."""
        if self._stopped:
            return
        memory, self._write = target if isinstance(target, Place) else (target, None)
        payload = _EMPTY if memory is None else memory
        start = self._start + self._body
        self._length = nbytes
        self._filled = min(self._end - start, nbytes)
        here = self._buffer[start : start + self._filled]
        if self._write is None:
            payload[: self._filled] = here
        else:
            self._write(here, 0)
            self._passage = self._passage or memoryview(bytearray(PASSAGE_BYTES))
        self._payload = payload
        self._start = start + self._filled
        self._deliver_if_filled()

    def _deliver_if_filled(self) -> None:
        payload = self._payload
        if payload is None or self._filled < self._length:
            if self._start == self._end:
                self._start = self._end = 0
            return
        self._payload = None
        self._deliver(payload)

    def _deliver_in_place(self) -> None:
        start = self._start + self._body
        end = self._start + self._needed
        self._start = end
        self._deliver(self._buffer[start:end] if end > start else _EMPTY)

    def _deliver(self, payload: memoryview) -> None:
        frame = self._frame
        assert frame is not None
        self._frame = None
        self._needed = PREFIX.size
        self._on_frame(frame, payload)

    def _make_room(self) -> None:
        """Make room behind `_start` for the bytes that the next step needs: in the buffer, at its front, or in a longer one.

        A buffer grows with the bytes that have arrived, not with what the peer announces.
        """
        held = self._end - self._start
        if held and (self._start + self._needed <= len(self._buffer) or (not self._start and self._end < len(self._buffer))):
            return
        size = min(self._needed, 2 * held)
        target = self._home if max(size, held + 1) <= len(self._home) else memoryview(bytearray(size))
        target[:held] = self._buffer[self._start : self._end]
        self._buffer = target
        self._start, self._end = 0, held
