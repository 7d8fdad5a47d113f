"""A TCP proxy between a service and NATS whose connections fail in the ways that networks have."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Self

CHUNK = 1 << 16


class TcpProxy:
    """Passes connections on to a port of this machine. `port`: where it listens. accepted: connections so far."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.accepted = 0
        self._target = target
        self._connections: list[_Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def freeze(self, *, up: bool = True, down: bool = True) -> None:
        """Read nothing more from clients (up) or from the server (down) on the connections that there are. New ones work."""
        for connection in self._connections:
            connection.freeze(up, down)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection()
        self._connections.append(connection)
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._start(_pump(reader, back, connection.up))
        self._start(_pump(there, writer, connection.down))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Connection:
    """Whether each direction is open."""

    def __init__(self) -> None:
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.up.set()
        self.down.set()

    def freeze(self, up: bool, down: bool) -> None:
        for event, wanted in ((self.up, up), (self.down, down)):
            if wanted:
                event.clear()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event) -> None:
    try:
        while is_open.is_set() and (chunk := await reader.read(CHUNK)):
            await is_open.wait()
            writer.write(chunk)
            await writer.drain()
        await is_open.wait()
    except ConnectionError:
        pass
    finally:
        writer.close()
