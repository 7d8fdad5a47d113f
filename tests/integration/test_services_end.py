"""Services that are told to end while the server of the bus is gone end all the same: soon, and in order."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec

from headrace.bus import Bus, EmbeddedServer
from headrace.errors import NatsUnreachable
from tests.waiting import eventually

STATUS = {
    "controller": "headrace-controller.status",
    "scheduler": "headrace-scheduler.status",
    "publisher": "headrace-publisher.status",
    "worker": "headrace-worker.status-lonely",
}
SOON = 5.0
"""Seconds; docker kills after 10."""


async def are_up(bus: Bus) -> bool:
    """Whether the three lead, and the host answers."""
    try:
        answers = [msgspec.json.decode(await bus.request(f"headrace.service.{status}")) for status in STATUS.values()]
    except NatsUnreachable:
        return False
    return all(answer.get("leading", True) for answer in answers)


def test_they_end_when_the_server_has_gone_before(nats_server: EmbeddedServer, runner: asyncio.Runner, bus: Bus, tmp_path: Path) -> None:
    environment = {**os.environ, **nats_server.settings.to_env(), "HEADRACE_HOST": "lonely"}
    logs = {name: tmp_path / name for name in STATUS}
    with ExitStack() as stack:
        processes = {}
        for name, log in logs.items():
            command = [sys.executable, "-m", "headrace.cli", name]
            processes[name] = subprocess.Popen(command, env=environment, stderr=stack.enter_context(log.open("wb")))
            stack.callback(processes[name].kill)
        eventually(lambda: runner.run(are_up(bus)), told=lambda: {name: log.read_text() for name, log in logs.items()})
        os.kill(nats_server.pid, signal.SIGKILL)
        eventually(lambda: all("connection to NATS has an error" in log.read_text() for log in logs.values()))
        for process in processes.values():
            process.terminate()
        assert {name: process.wait(SOON) for name, process in processes.items()} == dict.fromkeys(STATUS, 0)
    assert not [name for name, log in logs.items() if "Traceback" in log.read_text()]


def test_a_second_host_of_a_name_is_told_so_and_the_first_goes_on(
    nats_server: EmbeddedServer, runner: asyncio.Runner, bus: Bus, tmp_path: Path
) -> None:
    environment = {**os.environ, **nats_server.settings.to_env(), "HEADRACE_HOST": "lonely"}
    command = [sys.executable, "-m", "headrace.cli", "worker"]
    with (tmp_path / "first").open("wb") as log, subprocess.Popen(command, env=environment, stderr=log) as first:
        try:
            held = eventually(lambda: runner.run(bus.kv("hosts").get("lonely")))
            second = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, timeout=60)
            assert second.returncode == 1
            assert "HostTaken" in second.stderr
            assert "another worker is registered as 'lonely'. Give each host its own name" in second.stderr
            now = runner.run(bus.kv("hosts").get("lonely"))
            assert now is not None
            assert now.value == held.value
            assert now.revision > held.revision
        finally:
            first.terminate()
    assert first.returncode == 0
