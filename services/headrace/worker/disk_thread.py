"""The thread that writes datasets to disk and reads them back, in the order in which the agent decided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from headrace.worker.agent.actions import Restore, SendSpilled, Spill, Unspill
from headrace.worker.agent.events import Restored, Spilled
from headrace.worker.agent.state import Agent
from headrace_shm import Arena
from headrace_shm.spill import Spill as File

DiskAction = Spill | Restore | Unspill | SendSpilled


class DiskThread:
    """The disk of one host.

    wake: is called after every event. send: is called with bytes that were read for a peer. failed: is called with each action that failed,
    and its error. Raises OSError if the folder cannot be written.
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
        """Begin to carry out an action. The agent gets an event when it is done. The memory for a `Restore` must be reserved."""
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
        """Read the bytes that a frame names."""
        data = memoryview(bytearray(action.nbytes))
        self._file.read_part(action.key, action.frame.start, data)
        return data

    def _done(self, action: DiskAction, future: asyncio.Future[memoryview | None]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._failed(action, error)
        else:
            _DONE[type(action)](self, action, future.result())

    def _spilled(self, action: Spill, _: object) -> None:
        self._agent.handle(Spilled(action.key))
        self._wake()

    def _restored(self, action: Restore, _: object) -> None:
        self._agent.handle(Restored(action.key))
        self._wake()

    def _discarded(self, action: Unspill, _: object) -> None:
        """Tell the agent nothing: it has forgotten the dataset."""

    def _was_read(self, action: SendSpilled, data: memoryview | None) -> None:
        try:
            assert data is not None
            self._send(action, data)
        except Exception as error:
            self._failed(action, error)

    def close(self) -> None:
        """Wait for the present action, drop the others, and delete the files."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._file.close()


_DONE: dict[type[Any], Callable[[DiskThread, Any, memoryview | None], None]] = {
    SendSpilled: DiskThread._was_read,
    Spill: DiskThread._spilled,
    Restore: DiskThread._restored,
    Unspill: DiskThread._discarded,
}
"""The function for each type of action that succeeded."""
