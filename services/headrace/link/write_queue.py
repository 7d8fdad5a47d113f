"""The frames that a link has yet to write, in the order of writing. No I/O.

Small frames are written in the order in which they were added, before any large frame that has not started. A large frame (`Data`) is
written in slices, so that none of them blocks the process; no other frame comes between its slices.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

Sent = Callable[[bool], None]
"""A function that is called once: with True when the memory of a payload has been written, with False if the link ended first. The memory
is free in both cases."""


class Writes(NamedTuple):
    """Buffers to write now, and the functions to call when they are written."""

    buffers: list[bytes | bytearray | memoryview]
    sent: list[Sent]


class _Large(NamedTuple):
    buffers: deque[memoryview]
    sent: Sent | None


class WriteQueue:
    """The frames that are not yet written. nbytes: their size, including payloads."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._small = Writes([], [])
        self._large: deque[_Large] = deque()
        self._begun = False  # whether the first large frame has started

    def __bool__(self) -> bool:
        return self.nbytes > 0

    def add_small(self, header: bytearray, payload: tuple[memoryview, ...], sent: Sent | None) -> None:
        """Add a frame that is written as a whole."""
        self._small.buffers.append(header)
        self._small.buffers.extend(payload)
        if sent is not None:
            self._small.sent.append(sent)
        self.nbytes += len(header) + sum(map(len, payload))

    def add_large(self, header: bytearray, payload: tuple[memoryview, ...], sent: Sent | None) -> None:
        """Add a frame that is written in slices."""
        self._large.append(_Large(deque(buffer for buffer in (memoryview(header), *payload) if len(buffer)), sent))
        self.nbytes += len(header) + sum(map(len, payload))

    def take(self, limit: int) -> Writes:
        """Remove and return the next buffers to write.

        These are the small frames, unless they would split a large one, and `limit` bytes of large ones.
        """
        batch = Writes([], [])
        if not self._begun:
            batch, self._small = self._small, batch
            self.nbytes -= sum(map(len, batch.buffers))
        while limit > 0 and self._large and not (self._small.buffers and not self._begun):
            limit -= self._take_slice(batch, limit)
        return batch

    def _take_slice(self, batch: Writes, limit: int) -> int:
        buffers, sent = self._large[0]
        self._begun = True
        piece = buffers[0][:limit]
        if len(piece) < len(buffers[0]):
            buffers[0] = buffers[0][limit:]
        else:
            buffers.popleft()
        batch.buffers.append(piece)
        self.nbytes -= len(piece)
        if not buffers:
            self._large.popleft()
            self._begun = False
            if sent is not None:
                batch.sent.append(sent)
        return len(piece)

    def drop(self) -> list[Sent]:
        """Drop all frames, and return the functions to call because they will not be written."""
        untold = [*self._small.sent, *(large.sent for large in self._large if large.sent is not None)]
        self.nbytes = 0
        self._small = Writes([], [])
        self._large.clear()
        self._begun = False
        return untold
