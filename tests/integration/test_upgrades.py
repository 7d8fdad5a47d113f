"""Services of this release and of a next one, whose schema is one higher: side by side, or in the order that docs/upgrading.md gives."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import headrace as hr
import headrace_schemas
from headrace.bus import Bus, EmbeddedServer
from headrace.errors import NatsUnreachable
from headrace_schemas import SCHEMA_VERSION
from tests.waiting import eventually

LEADERS = ("controller", "scheduler", "publisher")
WAIT = 120.0
GATED = """
import os, sys, time
import headrace as hr

def wait(gate):
    while not os.path.exists(gate):
        time.sleep(0.01)
    return "went on"
"""
FETCHES = "with hr.Cluster.connect(progress=False) as cluster: print(cluster.job(sys.argv[1]).result('it', 120.0))"


def next_release(folder: Path, *, all_kinds: bool) -> dict[str, str]:
    """The environment of processes of a next release. all_kinds: whether every kind of message has changed; otherwise none of those that
    older services write or read."""
    package = folder / "headrace_schemas"
    shutil.copytree(Path(headrace_schemas.__file__).parent, package)
    base = package / "base.py"
    text, here = base.read_text(), f"SCHEMA_VERSION = {SCHEMA_VERSION}\n"
    assert here in text
    text = text.replace(here, f"SCHEMA_VERSION = {SCHEMA_VERSION + 1}\n")
    if all_kinds:
        one = "default_factory=lambda: version)"
        assert one in text
        text = text.replace(one, "default_factory=lambda: SCHEMA_VERSION)")
    base.write_text(text)
    return {"PYTHONPATH": str(folder)}


class Processes:
    """Services of one release or another, each a process, and a bus to look at them."""

    def __init__(self, server: EmbeddedServer, runner: asyncio.Runner, folder: Path) -> None:
        self._server, self._runner, self._folder = server, runner, folder
        self.bus = runner.run(Bus.connect(server.settings, "test"))
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, service: str, release: dict[str, str], **variables: str) -> None:
        command = [sys.executable, "-m", "headrace.cli", service]
        environment = {**os.environ, **self._server.settings.to_env(), **release, **variables}
        with self._log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(command, env=environment, stderr=log)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def said(self, name: str) -> str:
        return self._log(name).read_text()

    def stop(self, *names: str) -> None:
        for name in names:
            self.running[name].send_signal(signal.SIGTERM)
        assert [self.running.pop(name).wait(20) for name in names] == [0] * len(names)

    def ended(self, name: str) -> int:
        return eventually(lambda: self.running[name].poll() is not None, WAIT) and self.running.pop(name).wait()

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
        self._runner.run(self.bus.close())

    def status(self, service: str) -> dict[str, object]:
        try:
            return msgspec.json.decode(self._runner.run(self.bus.request(f"headrace.service.headrace-{service}.status")))
        except NatsUnreachable:
            return {}

    def until_led(self, service: str, *, after: object = 0) -> object:
        """Wait until a process leads in a later term; returns that."""
        return eventually(lambda: (status := self.status(service)).get("leading") and status["term"] > after and status["term"], WAIT)

    def hosts(self) -> set[str]:
        return {*self.status("controller").get("hosts", ())}  # type: ignore[misc]

    def registered(self) -> set[str]:
        return {*self._runner.run(self.bus.kv("hosts").keys())}


@pytest.fixture
def processes(nats_server: EmbeddedServer, runner: asyncio.Runner, tmp_path: Path) -> Iterator[Processes]:
    found = Processes(nats_server, runner, tmp_path)
    try:
        yield found
    finally:
        found.kill()


def start_services(processes: Processes) -> dict[str, object]:
    """Start the services and a host `old` of this release. Returns the term in which each service is led."""
    for service in LEADERS:
        processes.start(service, service, {})
    terms = {service: processes.until_led(service) for service in LEADERS}
    processes.start("worker", "worker", {}, HEADRACE_HOST="old")
    return terms


def gated(gate: Path) -> hr.Graph:
    names: dict[str, object] = {}
    exec(GATED, names)
    graph = hr.Graph("gated")
    graph.add(names["wait"], str(gate), name="it")  # type: ignore[arg-type]
    return graph


def test_with_unchanged_messages_services_are_replaced_one_by_one(
    processes: Processes, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    """A job goes on, on a host of this release, and its client too, while all other services become those of the next."""
    newer = next_release(tmp_path / "next", all_kinds=False)
    terms = start_services(processes)
    with hr.Cluster.connect(nats_server.url, token=nats_server.token, progress=False) as cluster:
        gate = tmp_path / "gate"
        job = cluster.submit(gated(gate))
        eventually(lambda: job.status().tasks["started"])
        processes.start("newer-worker", "worker", newer, HEADRACE_HOST="new")
        eventually(lambda: processes.hosts() == {"old", "new"}, WAIT)
        for service in ("publisher", "controller", "scheduler"):
            processes.start(f"newer-{service}", service, newer)
            processes.stop(service)
            processes.until_led(service, after=terms[service])
        gate.touch()
        assert job.result("it", WAIT) == "went on"
        assert cluster.submit(gated(gate)).result("it", WAIT) == "went on"
        assert processes.hosts() == {"old", "new"}
    assert all(process.poll() is None for process in processes.running.values())
    assert not [name for name in processes.running if "Traceback" in processes.said(name)]


def test_with_changed_messages_newer_hosts_wait_and_older_ones_end_and_the_job_goes_on(
    processes: Processes, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    newer = next_release(tmp_path / "next", all_kinds=True)
    terms = start_services(processes)
    gate = tmp_path / "gate"
    with hr.Cluster.connect(nats_server.url, token=nats_server.token, progress=False) as cluster:
        job = cluster.submit(gated(gate))
        eventually(lambda: job.status().tasks["started"])
        processes.start("newer-worker", "worker", newer, HEADRACE_HOST="new")
        eventually(lambda: processes.registered() == {"old", "new"}, WAIT)
        eventually(lambda: f"schema version {SCHEMA_VERSION + 1}" in str(processes.status("controller")["unreadable"]))
        assert processes.hosts() == {"old"}
        for service in LEADERS:
            processes.start(f"newer-{service}", service, newer)
        processes.stop(*LEADERS)
        for service in LEADERS:
            processes.until_led(service, after=terms[service])
        eventually(lambda: "new" in processes.hosts(), WAIT)
        gate.touch()
        with pytest.raises(hr.ClusterFailed, match=rf"schema version {SCHEMA_VERSION + 1}.*upgrade this side"):
            job.result("it", WAIT)
        assert processes.ended("worker") == 1
        assert "upgrade this side" in processes.said("worker").splitlines()[-1]
    environment = {**os.environ, **nats_server.settings.to_env(), **newer}
    done = subprocess.run([sys.executable, "-c", GATED + FETCHES, job.id], env=environment, capture_output=True, text=True, timeout=WAIT)
    assert (done.stdout, done.returncode) == ("went on\n", 0), done.stderr
    assert not [name for name in ("worker", *LEADERS, *processes.running) if "Traceback" in processes.said(name)]
