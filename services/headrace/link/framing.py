"""Frames to bytes and back, without any I/O.

`pack` makes the bytes in front of a payload. `Parser` is told where to put what arrives (`writable`) and that it has
arrived (`received`), and calls its owner with every whole frame. Small frames are parsed where they lie, in one
buffer that is used again and again. A large payload is received straight into memory that the owner names:

    prefix, header, payload all in the buffer    -> on_frame(header, view of the buffer)
    `Data`                                       -> sink(header, length), fill what it gives, on_frame(header, it)
    `Data`, the sink gives a `Place`             -> the same by way of another buffer and the place's `write`
    what the buffer cannot hold                  -> the same in a longer one, which grows with what comes

Whatever is wrong with the bytes raises `MalformedFrame`; after that, or after `stop`, a parser takes nothing more.
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
"""Length of the header, length of the payload, in bytes."""

_EMPTY: Final = memoryview(b"")
_SCRAP: Final = memoryview(bytearray(4096))
"""What comes over links that have ended goes here, and is not looked at."""
_encoder: Final = msgspec.msgpack.Encoder()
_handshake_decoder: Final[msgspec.msgpack.Decoder[HandshakeFrame]] = msgspec.msgpack.Decoder(HandshakeFrame)
_frame_decoder: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)


OnFrame: TypeAlias = Callable[[Frame | HandshakeFrame, memoryview], None]
"""Called with every whole frame. The payload is the sink's memory for `Data`; for all others it is valid during the call only."""


class Place(NamedTuple):
    """Memory that is filled by calls of `write`, with bytes and where in it they go: cheaper than to touch pages that are new.

    Or no memory (None), where `write` hands the bytes on; then `on_frame` gets no payload.
    """

    memory: memoryview | None
    write: Callable[[memoryview, int], None]


Sink: TypeAlias = Callable[[Data, int], "memoryview | Place"]
"""Called with a `Data` header and the length of its payload; gives writable memory of exactly that many bytes."""


def pack(frame: Frame | HandshakeFrame, payload_bytes: int = 0) -> bytearray:
    """Prefix and header of `frame`, whose payload of `payload_bytes` bytes is to follow.

    Raises `MalformedFrame` if the other side would refuse it: the header or payload too long, columns or lengths that do not agree.
    """
    out = bytearray(PREFIX.size)
    _encoder.encode_into(frame, out, PREFIX.size)
    length = len(out) - PREFIX.size
    limit = MAX_HANDSHAKE_BYTES if isinstance(frame, HandshakeFrame) else MAX_HEADER_BYTES
    if length > limit:
        raise MalformedFrame(f"a {type(frame).__name__} header of {length} bytes, more than {limit}: split it, or name things more shortly")
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
        raise MalformedFrame(f"a {name} frame with a payload of {payload_bytes} bytes, where {expected} belong")
    if payload_bytes > MAX_VALUES_BYTES:
        raise MalformedFrame(f"a {name} frame with a payload of {payload_bytes} bytes, more than {MAX_VALUES_BYTES}")


class Parser:
    """The receiving half of a link: begins with the handshake's frames only, and takes the others once `open` was called."""

    def __init__(self, on_frame: OnFrame, sink: Sink) -> None:
        self._on_frame = on_frame
        self._sink = sink
        self._decoder: msgspec.msgpack.Decoder[Frame] | msgspec.msgpack.Decoder[HandshakeFrame] = _handshake_decoder
        self._header_limit = MAX_HANDSHAKE_BYTES
        self._home = memoryview(bytearray(HANDSHAKE_BUFFER_BYTES))
        self._buffer = self._home  # or one that holds a header too long for home
        self._start = 0  # what has arrived and is not parsed yet is _buffer[_start:_end]
        self._end = 0
        self._needed = PREFIX.size  # bytes from _start on without which the next step cannot be done
        self._frame: Frame | HandshakeFrame | None = None  # whose header is parsed and whose payload is not there yet
        self._body = 0  # where that payload begins, counted from _start
        self._payload: memoryview | None = None  # memory being filled with a payload
        self._length = 0  # bytes of that payload, and how many of them have come
        self._filled = 0
        self._write: Callable[[memoryview, int], None] | None = None  # how it is filled, if not in place
        self._passage = _EMPTY  # what such a payload comes through
        self._stopped = False

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun to arrive and is not whole yet."""
        return self._payload is not None or self._frame is not None or self._end > self._start

    def open(self) -> None:
        """From the next frame on, take the frames of an authenticated link. May be called from within `on_frame`."""
        self._decoder = _frame_decoder
        self._header_limit = MAX_HEADER_BYTES
        self._home = memoryview(bytearray(RECEIVE_BUFFER_BYTES))

    def stop(self) -> None:
        """Take nothing more and let go of all buffers. May be called from within `on_frame` and `sink`."""
        self._stopped = True
        self._payload = None
        self._home = self._buffer = self._passage = _EMPTY
        self._start = self._end = 0
        self._frame = None

    def writable(self) -> memoryview:
        """Where the next bytes are to be put; never empty."""
        if self._stopped:
            return _SCRAP
        if self._payload is not None:
            return self._payload[self._filled :] if self._write is None else self._passage[: self._length - self._filled]
        return self._buffer[self._end :]

    def received(self, nbytes: int) -> None:
        """`nbytes` bytes were put at the start of what `writable` gave last.

        Raises `MalformedFrame` if they are no frames, and whatever `on_frame` and `sink` raise.
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
            raise MalformedFrame(f"a header of {len(header)} bytes that is no frame which may come now: {error}") from error

    def _begin_payload(self, frame: Frame | HandshakeFrame, nbytes: int) -> None:
        self._frame = frame
        self._needed = self._body + nbytes
        if isinstance(frame, Data):
            self._fill(self._sink(frame, nbytes), nbytes)

    def _fill(self, target: memoryview | Place, nbytes: int) -> None:
        """Receive `nbytes` bytes into `target` from here on, beginning with what is in the buffer already."""
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
        """Let more of the bytes that the next step needs fit behind `_start`: in the buffer, at its front, or in a longer one.

        A buffer grows with what has come, and not to what the other side says will come.
        """
        held = self._end - self._start
        if held and (self._start + self._needed <= len(self._buffer) or (not self._start and self._end < len(self._buffer))):
            return
        size = min(self._needed, 2 * held)
        target = self._home if max(size, held + 1) <= len(self._home) else memoryview(bytearray(size))
        target[:held] = self._buffer[self._start : self._end]
        self._buffer = target
        self._start, self._end = 0, held
