"""The sending half of a link: its queue, and the transport that it drains into.

Everything that was added since the last turn of the loop is written with one `writelines`. The transport's high-water mark is 0, so that it
either has written everything, or pauses this side until it has. So this side knows when the memory of a payload is free again.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from headrace.link.errors import LinkClosed
from headrace.link.settings import SLICE_BYTES
from headrace.link.write_queue import Sent, WriteQueue
from headrace.logs import get_log

log: Final = get_log(__name__)


class Sender:
    """Writes the frames of one link in the order of its queue."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.WriteTransport | None = None
        self._queue = WriteQueue()
        self._unwritten: list[Sent] = []  # functions to call once the transport has written its data
        self._paused = False
        self._scheduled = False
        self._drainers: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def queued_bytes(self) -> int:
        """Bytes that are not yet written to the socket."""
        return self._queue.nbytes + (self._transport.get_write_buffer_size() if self._transport else 0)

    def attach(self, transport: asyncio.WriteTransport) -> None:
        """Write to `transport` from now on."""
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        self._schedule()

    def detach(self, reason: str) -> None:
        """Notify everybody who waits that the link has ended."""
        self._transport = None
        unwritten, self._unwritten = [*self._unwritten, *self._queue.drop()], []
        self._tell(unwritten, False)
        drainers, self._drainers = self._drainers, []
        for _, done in drainers:
            if not done.done():
                done.set_exception(LinkClosed(reason))

    def add(self, header: bytearray, payload: tuple[memoryview, ...], sent: Sent | None, *, large: bool) -> None:
        """Queue a frame. `sent` is called once, and never from within this call."""
        add = self._queue.add_large if large else self._queue.add_small
        add(header, payload, sent)
        self._schedule()

    async def drain(self, limit: int) -> None:
        """Wait until no more than `limit` bytes are queued. Raises `LinkClosed` if the link ends before that."""
        if self.queued_bytes > limit:
            done = self._loop.create_future()
            self._drainers.append((limit, done))
            await done

    def pause(self) -> None:
        """Pause writing, because the transport could not write everything at once."""
        self._paused = True

    def resume(self) -> None:
        """Continue writing, because the transport has written everything."""
        self._paused = False
        self._written()
        self._pump()

    def _schedule(self) -> None:
        if self._transport is not None and not self._scheduled and not self._paused and self._queue:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._pump()

    def _pump(self) -> None:
        """Write the next batch. It writes at most one per turn of the loop, so that a fast socket does not block everything else."""
        transport = self._transport
        if self._paused or transport is None or transport.is_closing() or not self._queue:
            return
        batch = self._queue.take(SLICE_BYTES)
        self._unwritten += batch.sent
        transport.writelines(batch.buffers)
        if not self._paused and not transport.is_closing():
            self._written()
        self._schedule()

    def _written(self) -> None:
        sent, self._unwritten = self._unwritten, []
        self._tell(sent, True)
        if self._drainers:
            self._wake_drainers(self.queued_bytes)

    def _wake_drainers(self, queued: int) -> None:
        waiting, self._drainers = self._drainers, []
        for limit, done in waiting:
            if queued > limit:
                self._drainers.append((limit, done))
            elif not done.done():
                done.set_result(None)

    def _tell(self, sent: list[Callable[[bool], None]], written: bool) -> None:
        for tell in sent:
            try:
                tell(written)
            except Exception:
                log.exception("on_sent failed; the link continues")
