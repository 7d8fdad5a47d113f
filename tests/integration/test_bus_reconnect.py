"""Connections that end badly: with megabytes unsent, or in the middle of the handshake. The next one is made all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headrace.bus import BusSettings, options
from headrace.bus.settings import Times
from headrace.bus.wire import Wire, open_wire

INFO = b'INFO {"server_id":"x","version":"2.11.0","max_payload":8388608,"headers":true}\r\n'
MiB = 1 << 20


class StandIn:
    """Answers as a NATS server does, until it is told to do otherwise with the connections that follow."""

    def __init__(self) -> None:
        self.behave: list[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(INFO)
        try:
            await (self.behave.pop(0) if self.behave else converse)(reader, writer)
        finally:
            writer.close()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Get as far as the client's first PING."""
    while (line := await reader.readline()) and not line.startswith(b"PING"):
        pass
    writer.write(b"PONG\r\n")


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each PING for as long as there are any."""
    while line := await reader.readline():
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the first PING of the handshake and that of the reconnection, then read nothing."""
    await greet(reader, writer)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say more than the handshake waits for, and end at once."""
    while not (await reader.readline()).startswith(b"PING"):
        pass
    writer.write(b"PONG\r\nPING\r\nPING\r\n")
    writer.write_eof()


async def cut_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End where an answer to the login was due."""
    while not (await reader.readline()).startswith(b"CONNECT"):
        pass


async def garbled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a line that no server sends."""
    await reader.readline()
    writer.write(b"\xff" * MiB)


async def connected_to(server: asyncio.Server) -> tuple[Wire, asyncio.Event]:
    port = server.sockets[0].getsockname()[1]
    connection = await open_wire(BusSettings(url=f"nats://127.0.0.1:{port}"), "test")
    again = asyncio.Event()
    connection.reconnected = again.set
    return connection, again


def test_megabytes_unsent_on_a_dead_connection_hold_nothing_up(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "TIMES", Times(ping_seconds=0.2))

    async def body() -> None:
        stand_in = StandIn()
        stand_in.behave = [deaf]
        async with await asyncio.start_server(stand_in.serve, "127.0.0.1", 0) as server:
            connection, again = await connected_to(server)
            for _ in range(64):
                connection.send(b"PUB x %d\r\n%b\r\n" % (MiB, b"x" * MiB))
            assert connection.backlog > 32 * MiB
            async with asyncio.timeout(10):
                await again.wait()
            assert connection.is_connected
            assert connection.backlog == 0
            await connection.close()

    runner.run(body())


@pytest.mark.parametrize("behaviours", [[cut], [cut_early], [garbled], [cut, cut_early, cut, garbled, cut]], ids=lambda bs: str(len(bs)))
def test_a_handshake_that_is_cut_is_tried_again(behaviours: list[Callable[..., Awaitable[None]]], runner: asyncio.Runner) -> None:
    async def body() -> None:
        stand_in = StandIn()
        stand_in.behave = [greet, *behaviours]
        async with await asyncio.start_server(stand_in.serve, "127.0.0.1", 0) as server:
            connection, _ = await connected_to(server)
            async with asyncio.timeout(20):
                while stand_in.connections < 2 + len(behaviours) or not connection.is_connected:
                    await asyncio.sleep(0.01)
                await connection.flush()
            assert connection.stats["reconnects"] >= 1
            await connection.close()

    runner.run(body())


def test_a_connection_to_a_server_that_reads_nothing_is_closed(runner: asyncio.Runner) -> None:
    async def body() -> None:
        stand_in = StandIn()
        stand_in.behave = [deaf]
        async with await asyncio.start_server(stand_in.serve, "127.0.0.1", 0) as server:
            connection, _ = await connected_to(server)
            for _ in range(64):
                connection.send(b"PUB x %d\r\n%b\r\n" % (MiB, b"x" * MiB))
            async with asyncio.timeout(5):
                await connection.close()

    runner.run(body())
