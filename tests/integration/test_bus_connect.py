"""Connection errors are reported clearly and at once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from headrace.bus import Bus, BusSettings, EmbeddedServer
from headrace.bus.server import server_binary
from headrace.errors import NatsUnreachable, NoJetStream, WrongCredentials


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_no_server(runner: asyncio.Runner) -> None:
    settings = BusSettings(url=f"nats://127.0.0.1:{_unused_port()}", connect_seconds=0.5)
    since = time.monotonic()
    with pytest.raises(NatsUnreachable, match=rf"{settings.url} within 0\.5 s.*HEADRACE_URL"):
        runner.run(Bus.connect(settings, "test"))
    assert time.monotonic() - since < 3


def test_a_server_that_says_nothing(runner: asyncio.Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = BusSettings(url=f"nats://127.0.0.1:{listener.getsockname()[1]}", connect_seconds=3.0)
        with pytest.raises(NatsUnreachable, match=r"within 3 s: \w+"):
            runner.run(Bus.connect(settings, "test"))


def test_a_server_that_comes_late_is_waited_for(runner: asyncio.Runner, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        nats_server.stop()
        connecting = asyncio.ensure_future(Bus.connect(nats_server.settings, "test"))
        await asyncio.to_thread(nats_server.start)
        await (await connecting).close()

    runner.run(body())


def test_a_closed_bus_lets_nobody_wait(runner: asyncio.Runner, nats_server: EmbeddedServer) -> None:
    async def body() -> None:
        bus = await Bus.connect(nats_server.settings, "test")
        await bus.ensure_streams()
        nats_server.stop()
        waiting = bus.publish("headrace.job.a.state", b"")
        await bus.close()
        for future in (waiting, bus.publish("headrace.job.a.state", b"")):
            with pytest.raises(NatsUnreachable, match="closed"):
                await asyncio.wait_for(future, 1)

    runner.run(body())


@pytest.mark.parametrize("wrong", [{"token": "wrong"}, {"token": ""}, {"token": "", "user": "u", "password": "p"}])
def test_wrong_credentials_are_said_at_once(runner: asyncio.Runner, nats_server: EmbeddedServer, wrong: dict[str, str]) -> None:
    since = time.monotonic()
    with pytest.raises(WrongCredentials, match="HEADRACE_TOKEN"):
        runner.run(Bus.connect(msgspec.structs.replace(nats_server.settings, **wrong), "test"))
    assert time.monotonic() - since < 4, "a server that does not answer is waited for for 5 s"


def test_a_credentials_file_that_is_not_there(runner: asyncio.Runner, nats_server: EmbeddedServer) -> None:
    with pytest.raises(WrongCredentials, match=r"no credentials file '/nowhere\.creds'"):
        runner.run(Bus.connect(BusSettings(url=nats_server.url, creds="/nowhere.creds"), "test"))


def test_a_server_without_jetstream(runner: asyncio.Runner, tmp_path: Path) -> None:
    arguments = [server_binary(), "-a", "127.0.0.1", "-p", str(port := _unused_port()), "-l", str(tmp_path / "log")]
    server = subprocess.Popen(arguments)
    try:
        with pytest.raises(NoJetStream, match="-js"):
            runner.run(Bus.connect(BusSettings(url=f"nats://127.0.0.1:{port}"), "test"))
    finally:
        server.kill()
        server.wait()


SERVICE = """
import asyncio, sys
from headrace.bus import Bus, BusSettings, run_service

async def main():
    async with await Bus.connect(BusSettings.from_env(), "service"):
        try:
            print("ready", flush=True)
            await asyncio.Event().wait()
        finally:
            print("finished", flush=True)

sys.exit(run_service(main))
"""


def _service(env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE], env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_ends_in_order_at_a_signal(nats_server: EmbeddedServer, number: signal.Signals) -> None:
    process = _service(nats_server.settings.to_env())
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, "finished\n", "")


def test_a_service_without_a_server_says_so_in_a_line(nats_server: EmbeddedServer) -> None:
    env = nats_server.settings.to_env() | {"HEADRACE_CONNECT_TIMEOUT": "0.2"}
    nats_server.stop()
    process = _service(env)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert 'kind=NatsUnreachable error="no NATS server answered' in error
    assert "Traceback" not in error
