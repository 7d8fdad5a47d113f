"""Writes datasets to disk and reads them back, in a thread of its own and in the order in which the agent decided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from headrace.logs import get_log
from headrace.worker.actions import Restore, SendSpilled, Spill, Unspill
from headrace.worker.state import Agent
from headrace_shm import Arena
from headrace_shm.spill import Spill as File

log = get_log(__name__)


class Spilling:
    """The disk of one host. `wake` is called after every event; `send` is given what was read for a peer."""

    def __init__(
        self, agent: Agent, arena: Arena, folder: str, wake: Callable[[], None], send: Callable[[SendSpilled, memoryview], None]
    ) -> None:
        self._agent = agent
        self._arena = arena
        self._wake = wake
        self._send = send
        self._file = File(folder or None)
        self._thread = ThreadPoolExecutor(1, "headrace-disk")
        self._loop = asyncio.get_running_loop()

    def act(self, action: Spill | Restore | Unspill | SendSpilled) -> None:
        """Begin to carry out an action; the agent hears when it is done."""
        if isinstance(action, Unspill):
            self._thread.submit(self._file.discard, action.key)
            return
        if isinstance(action, SendSpilled):
            reading = self._loop.run_in_executor(self._thread, self._read, action)
            reading.add_done_callback(lambda future: self._was_read(action, future))
            return
        done = self._agent.spilled if isinstance(action, Spill) else self._agent.restored
        self._begin(action).add_done_callback(lambda future: self._done(done, action.key, future))

    def _begin(self, action: Spill | Restore) -> asyncio.Future[None]:
        if isinstance(action, Restore):
            try:
                self._arena.reserve(action.offset, action.nbytes)
            except OSError as error:  # the folder of the arena is full: whoever waits for the dataset must hear of it
                refused: asyncio.Future[None] = self._loop.create_future()
                refused.set_exception(error)
                return refused
        return self._loop.run_in_executor(self._thread, self._move, action)

    def _move(self, action: Spill | Restore) -> None:
        memory = self._arena.writable(action.offset, action.nbytes)
        if isinstance(action, Spill):
            self._file[action.key] = memory
        else:
            self._file.read_into(action.key, memory)

    def _read(self, action: SendSpilled) -> memoryview:
        """The bytes that a frame names."""
        data = memoryview(bytearray(action.nbytes))
        self._file.read_part(action.key, action.frame.start, data)
        return data

    def _was_read(self, action: SendSpilled, future: asyncio.Future[memoryview]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._send(action, future.result())
            return
        log.error("a dataset cannot be read from disk", key=action.key, error=error if isinstance(error, OSError) else repr(error))
        self._agent.unreadable(action.key)
        self._agent.sent(action.peer, action.frame, action.nbytes)
        self._wake()

    def _done(self, tell: Callable[[str, bool], None], key: str, future: asyncio.Future[None]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            log.error("a dataset cannot go to disk or come back", key=key, error=error if isinstance(error, OSError) else repr(error))
        tell(key, error is None)
        self._wake()

    def close(self) -> None:
        """Wait for what is under way, and forget everything."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._file.close()
