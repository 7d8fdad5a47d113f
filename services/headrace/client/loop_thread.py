"""The client's own thread, with an event loop for its one connection to the bus, behind blocking calls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from headrace.bus import new_loop
from headrace.client.settings import SETTINGS
from headrace.errors import ClusterClosed

T = TypeVar("T")

CLOSED = "the cluster was closed: use it inside its `with` block, or connect again"
"""The error of calls after the end."""


class LoopThread:
    """An event loop in a daemon thread. Callers of `call` block until their coroutine is done, and Ctrl-C wakes them."""

    def __init__(self, name: str) -> None:
        self._owner = os.getpid()
        self.loop = new_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop, without waiting for it. Raises ClusterClosed after `stop`, and in a fork of the process."""
        self.check()
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError as error:
            raise _closed() from error

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop, and return its result. It is cancelled if this call is interrupted or takes longer.

        timeout: seconds. Raises TimeoutError, ClusterClosed, and what the coroutine raises.
        """
        try:
            self.check()
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result(timeout)
        except CancelledError as error:
            raise _closed() from error
        except BaseException:
            future.cancel()
            raise

    def soon_if_open(self, function: Callable[..., object], *args: object) -> None:
        """Call a function as `soon` does, or do nothing after `stop`."""
        with contextlib.suppress(ClusterClosed):
            self.soon(function, *args)

    def check(self) -> None:
        """Raise ClusterClosed after `stop`, and in a fork of the process."""
        if os.getpid() != self._owner:
            raise ClusterClosed("this cluster belongs to the process that this one was forked from: connect again with Cluster.connect")
        if self.loop.is_closed() or not self._thread.is_alive():
            raise _closed()

    def stop(self) -> None:
        """End the thread, after cancelling what still runs on the loop."""
        if os.getpid() != self._owner or not self._thread.is_alive():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SETTINGS.thread_seconds)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self._cancel_all()
        finally:
            self.loop.close()

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=SETTINGS.thread_seconds / 2))


def _closed() -> ClusterClosed:
    return ClusterClosed(CLOSED)
