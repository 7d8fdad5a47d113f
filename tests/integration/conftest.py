"""A real nats-server per test, on a free port, and a loop to run coroutines on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.bus import Bus, EmbeddedServer, new_loop


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A running server with JetStream in the test's folder."""
    with EmbeddedServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """`runner.run(coroutine)` runs it on the services' kind of loop; the loop lives as long as the test."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        yield runner


@pytest.fixture
def bus(nats_server: EmbeddedServer, runner: asyncio.Runner) -> Iterator[Bus]:
    """A bus on the test's server, for coroutines run by `runner`; streams and buckets exist."""
    bus = runner.run(_connected(nats_server))
    yield bus
    runner.run(bus.close())


async def _connected(server: EmbeddedServer) -> Bus:
    bus = await Bus.connect(server.settings, "test")
    await bus.ensure_streams()
    await bus.ensure_buckets()
    return bus


@pytest.fixture
def until() -> Callable[..., object]:
    """`await until(lambda: condition)`: let the loop go on until the condition holds; fails after some seconds."""

    async def until(condition: Callable[[], object], timeout: float = 20.0) -> None:
        deadline = asyncio.get_running_loop().time() + timeout
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, "it did not come to pass in time"
            await asyncio.sleep(0.002)

    return until
