"""Writes datasets to disk and reads them back, in a thread of its own and in the order in which the agent decided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from headrace.worker.agent.actions import Restore, SendSpilled, Spill, Unspill
from headrace.worker.agent.state import Agent
from headrace_shm import Arena
from headrace_shm.spill import Spill as File

DiskAction = Spill | Restore | Unspill | SendSpilled


class Spilling:
    """The disk of one host. `wake` is called after every event; `send` is given what was read for a peer; `failed` is told what could not
    be done.

    Raises OSError if the folder cannot be written.
    """

    def __init__(
        self,
        agent: Agent,
        arena: Arena,
        folder: str,
        wake: Callable[[], None],
        send: Callable[[SendSpilled, memoryview], None],
        failed: Callable[[DiskAction, BaseException], None],
    ) -> None:
        self._agent = agent
        self._arena = arena
        self._wake = wake
        self._send = send
        self._failed = failed
        self._file = File(folder or None)
        self._thread = ThreadPoolExecutor(1, "headrace-disk")
        self._loop = asyncio.get_running_loop()

    def act(self, action: DiskAction) -> None:
        """Begin to carry out an action; the agent hears when it is done. There must be memory where a `Restore` reads to."""
        self._loop.run_in_executor(self._thread, self._work, action).add_done_callback(partial(self._done, action))

    def _work(self, action: DiskAction) -> memoryview | None:
        if isinstance(action, SendSpilled):
            return self._read(action)
        self._move(action)
        return None

    def _move(self, action: Spill | Restore | Unspill) -> None:
        if isinstance(action, Unspill):
            self._file.discard(action.key)
            return
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

    def _done(self, action: DiskAction, future: asyncio.Future[memoryview | None]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._failed(action, error)
        elif isinstance(action, SendSpilled):
            self._sent(action, future.result())
        elif isinstance(action, Spill):
            self._agent.spilled(action.key, True)
            self._wake()
        elif isinstance(action, Restore):
            self._agent.restored(action.key, True)
            self._wake()

    def _sent(self, action: SendSpilled, data: memoryview | None) -> None:
        try:
            assert data is not None
            self._send(action, data)
        except Exception as error:
            self._failed(action, error)

    def close(self) -> None:
        """Wait for what is under way, and forget everything."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._file.close()
