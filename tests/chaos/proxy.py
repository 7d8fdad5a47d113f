"""The links of a deployment: a process through which every connection to NATS and to hosts goes, and which delays, stalls, swallows or cuts
what passes. It is told what to do by datagrams of JSON: {"route": name, "mode": mode, "seconds": delay, "bytes": count}."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random, SystemRandom

CHUNK = 1 << 18
QUEUED = 64
"""Chunks of a connection that may be on their way."""
MODES = ("pass", "delay", "stall", "swallow", "cut", "chop")
"""pass: as it comes. delay: later by some seconds. stall: nothing is read, so that senders wait. swallow: everything is read and nothing
arrives, as behind a broken router; such connections are cut afterwards. cut: connections are reset, and new ones too. chop: every
connection is reset after a random number of bytes, up to some."""


@dataclass(frozen=True)
class Mode:
    """What happens on a route. seconds: of a delay. bytes: the most that pass before a connection is chopped."""

    name: str = "pass"
    seconds: float = 0.0
    bytes: int = 0


class Route:
    """One listening socket, what it leads to, and the connections on it."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._random = Random(seed)
        self._mode = Mode()
        self._open = asyncio.Event()
        self._open.set()
        self._connections: set[_Connection] = set()

    def set(self, mode: Mode) -> None:
        """Change what happens, to the connections that there are as well."""
        self._mode = mode
        self._open.clear() if mode.name == "stall" else self._open.set()
        for connection in list(self._connections):
            if mode.name == "cut" or (mode.name != "swallow" and connection.incomplete):
                connection.abort()
            elif mode.name == "chop":
                connection.allow(self._random.randint(1, max(1, mode.bytes)))

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect somebody who called, and carry bytes both ways until one end closes."""
        if self._mode.name == "cut":
            writer.transport.abort()
            return
        connection = _Connection(writer)
        if self._mode.name == "chop":
            connection.allow(self._random.randint(1, max(1, self._mode.bytes)))
        self._connections.add(connection)
        try:
            await self._open.wait()
            inward, outward = await asyncio.open_connection("127.0.0.1", self._port, limit=CHUNK)
            connection.writers.append(outward)
            await asyncio.gather(self._carry(connection, reader, outward), self._carry(connection, inward, writer))
        except OSError:  # one end is gone, which the other is to see
            pass
        finally:
            connection.abort()
            self._connections.discard(connection)

    async def _carry(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes one way, until they end or the connection is chopped; then that end is closed, once it has all of them."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED)
        sending = asyncio.ensure_future(self._send(queue, writer))
        sending.add_done_callback(lambda done: connection.abort() if done.cancelled() or done.exception() else None)
        try:
            await self._read(connection, reader, queue)
            await queue.put((0.0, b""))
            await sending
        finally:
            sending.cancel()
        writer.close()
        if connection.spent:
            await writer.wait_closed()
            connection.abort()

    async def _read(self, connection: _Connection, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        clock = asyncio.get_running_loop().time
        while data := await reader.read(CHUNK):
            await self._open.wait()
            if self._mode.name == "swallow":
                connection.incomplete = True
                continue
            passed = connection.take(data)
            await queue.put((clock() + self._mode.seconds, passed))
            if len(passed) < len(data):
                return

    async def _send(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await queue.get()
            if not data:
                return
            await asyncio.sleep(max(0.0, due - clock()))
            writer.write(data)
            await writer.drain()


class _Connection:
    """The two ends of one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.incomplete = False
        """Whether bytes of it were swallowed."""
        self._allowed: int | None = None
        """Bytes that may still pass; None: all."""

    @property
    def spent(self) -> bool:
        """Whether nothing more may pass."""
        return self._allowed == 0

    def allow(self, count: int) -> None:
        """Let only so many bytes more pass."""
        self._allowed = count

    def take(self, data: bytes) -> bytes:
        """The part of some bytes that may pass."""
        if self._allowed is None:
            return data
        passed = data[: self._allowed]
        self._allowed -= len(passed)
        return passed

    def abort(self) -> None:
        """Reset both ends."""
        for writer in self.writers:
            writer.transport.abort()


def run_proxy(listening: Mapping[str, socket.socket], ports: Mapping[str, int], control: Path) -> int:
    """Serve routes until this process is ended. listening: a socket for each route. ports: where each leads. control: path of the socket
    that datagrams come to."""
    asyncio.run(_serve(listening, ports, control))
    return 0


async def _serve(listening: Mapping[str, socket.socket], ports: Mapping[str, int], control: Path) -> None:
    routes = {name: Route(ports[name], index) for index, name in enumerate(listening)}
    for name, sock in listening.items():
        await asyncio.start_server(routes[name].accept, sock=sock, limit=CHUNK)
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind(str(control))
    inbox.setblocking(False)
    asyncio.get_running_loop().add_reader(inbox.fileno(), partial(_obey, inbox, routes))
    await asyncio.get_running_loop().create_future()


def _obey(inbox: socket.socket, routes: Mapping[str, Route]) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            order = json.loads(inbox.recv(65536))
            routes[order.pop("route")].set(Mode(order.pop("mode"), **order))


class Links:
    """The driver's end of the proxy."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._outbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def set(self, route: str, mode: Mode) -> None:
        """Change what happens on a route."""
        order = {"route": route, "mode": mode.name, "seconds": mode.seconds, "bytes": mode.bytes}
        self._outbox.sendto(json.dumps(order).encode(), str(self._control))

    def close(self) -> None:
        """Close this end."""
        self._outbox.close()


def listen(count: int) -> list[socket.socket]:
    """Sockets that listen on free ports of the loopback interface."""
    found = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        found.append(sock)
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, below those that the kernel gives to connections."""
    found: list[int] = []
    for port in SystemRandom().sample(range(15_000, 30_000), 1_000):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            break
    return found
