"""A thread with its own event loop and NATS connection, for renewing leases, which must not wait for the service's work.

A service that plans a million tasks blocks its event loop for seconds. Python hands the interpreter to another thread every 5 ms meanwhile,
so a thread answers in time. Only a single call into C that holds the interpreter throughout can delay it; the longest of those, decoding a
graph of a hundred megabytes, takes half a second. docs/decisions/0005 has the measurements.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from headrace.bus.process import new_loop
from headrace.errors import HeadraceError
from headrace.logs import get_log

if TYPE_CHECKING:
    from headrace.bus.bus import Bus

log = get_log(__name__)

RETRY = 0.5
"""Seconds between attempts to connect."""
_ENDING = 1.0
"""Seconds for the thread to disconnect. It ends with the process in any case."""


class Renewer:
    """A thread that runs coroutines, each with a bus that belongs to that thread. connect: makes the bus."""

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, Bus]]) -> None:
        self._connect = connect
        self._loop = new_loop()
        self._bus: asyncio.Task[Bus] | None = None
        self._works: set[asyncio.Task[None] | None] = set()
        self._thread = threading.Thread(target=self._run, name="headrace-leases", daemon=True)
        self._thread.start()

    def call(self, work: Callable[[Bus], Coroutine[Any, Any, None]], after: float = 0.0) -> asyncio.Future[None]:
        """Run the coroutine that `work` makes from the thread's bus, after `after` seconds.

        The future belongs to the caller's loop; cancelling it cancels the coroutine.
        """
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._with_bus(work, after), self._loop))

    async def close(self) -> None:
        """Cancel all coroutines, disconnect, and end the thread."""
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDING):
                await asyncio.wrap_future(ending)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _with_bus(self, work: Callable[[Bus], Coroutine[Any, Any, None]], after: float) -> None:
        task = asyncio.current_task()
        self._works.add(task)
        try:
            await asyncio.sleep(after)
            if self._bus is None:
                self._bus = asyncio.ensure_future(self._connected())
            await work(await asyncio.shield(self._bus))
        finally:
            self._works.discard(task)

    async def _connected(self) -> Bus:
        while True:
            try:
                return await self._connect()
            except HeadraceError as error:
                log.warning("no connection for the renewal of leases; retrying", error=error)
                await asyncio.sleep(RETRY)

    async def _end(self) -> None:
        running = [task for task in self._works if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._bus is not None:
            self._bus.cancel()  # unless it is connected
            (bus,) = await asyncio.gather(self._bus, return_exceptions=True)
            if not isinstance(bus, BaseException):
                await bus.close()
