"""The processes of a cluster as a deployment has them: a nats-server and, each on its own, controllers, schedulers, publishers and workers.
Like Docker or systemd, it starts services again that end by themselves."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headrace.bus import BusSettings, EmbeddedServer
from headrace.variables import shm_folder
from tests.chaos.faults import CENTRAL
from tests.chaos.plan import Topology
from tests.chaos.processes import Processes

NATS = "nats-server"
RESTART_SECONDS = 0.5
"""Until a service that ended by itself is started again."""
END_SECONDS = 15.0
"""For the orderly end of all services."""
START_SECONDS = 3.0
"""In which a service may not have begun to handle signals."""
CAPACITY = 400_000_000
"""Bytes of each host's store."""
ROOT = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class UnplannedEnd:
    """A service that ended though nobody killed it."""

    service: str
    status: int
    seconds: float


class Deployment:
    """One cluster in a folder of its own. Everything it starts ends with `close`."""

    def __init__(self, folder: Path, topology: Topology) -> None:
        self.folder = folder
        self.topology = topology
        for name in ("logs", "tmp", "sinks", "spill"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.shm = Path(tempfile.mkdtemp(prefix="headrace-chaos-", dir=shm_folder()))
        self.processes = Processes(self.shm.name, folder / "logs")
        self.server = EmbeddedServer(folder / "nats")
        self.server.start()
        self.unplanned: list[UnplannedEnd] = []
        self._due: dict[str, float] = {}
        """When services are to be started again, by the monotonic clock."""
        self._killed: set[int] = set()
        self._begun: dict[str, float] = {}
        """When each service was started last."""
        self._started = time.monotonic()

    @property
    def services(self) -> list[str]:
        """The names of all services."""
        copies = 2 if self.topology.standbys else 1
        central = [f"{name}-{copy}" for name in CENTRAL for copy in range(copies)]
        return [*central, *(f"host-{index}" for index in range(self.topology.hosts))]

    def start(self, service: str) -> None:
        """Start a service, unless it runs."""
        if service not in self.processes.pids:
            kind = "worker" if service.startswith("host-") else service.partition("-")[0]
            self._begun[service] = time.monotonic()
            self.processes.fork(service, partial(_serve, [kind, *self._arguments(service)]), self.environment(service))

    def fork(self, name: str, main: Callable[[], int]) -> None:
        """Start something that is no service, such as a client."""
        self.processes.fork(name, main, self.environment(name))

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a process."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
        own = {"TMPDIR": str(self.folder / "tmp"), "PYTHONPATH": ROOT, "HEADRACE_LOG_LEVEL": "INFO", "HEADRACE_CONNECT_TIMEOUT": "60"}
        return kept | self.bus_settings(name).to_env() | own

    def bus_settings(self, name: str) -> BusSettings:
        """How a process connects to NATS."""
        return self.server.settings

    def _arguments(self, service: str) -> Iterator[str]:
        if service.startswith("host-"):
            shm, spill = self.shm / service, self.folder / "spill" / service
            for folder in (shm, spill):
                folder.mkdir(exist_ok=True)
            yield from ("--host", service, "--runners", str(self.topology.runners), "--capacity", str(CAPACITY))
            yield from ("--shm-dir", str(shm), "--spill-dir", str(spill))

    def kill(self, service: str, back: float) -> None:
        """Kill a service, and start it again after some seconds; -1: never."""
        if (pid := self.processes.pids.get(service)) is None:
            return
        self._killed.add(pid)
        os.kill(pid, signal.SIGKILL)
        if back >= 0:
            self._due[service] = time.monotonic() + back

    def turn(self) -> list[tuple[str, int]]:
        """Take note of what ended, and start what is due. Returns what ended and is no service, with exit codes."""
        pids, others = dict(self.processes.pids), []
        for name, status in self.processes.reap():
            if name not in self.services:
                others.append((name, status))
            elif pids[name] not in self._killed:
                self.unplanned.append(UnplannedEnd(name, status, time.monotonic() - self._started))
                self._due[name] = time.monotonic() + RESTART_SECONDS
        for name, due in list(self._due.items()):
            if time.monotonic() >= due and name not in self.processes.pids:
                del self._due[name]
                self.start(name)
        return others

    def end_services(self) -> list[tuple[str, int]]:
        """End all services in order. Returns those that did not end well, with their exit codes."""
        new = {name for name, begun in self._begun.items() if time.monotonic() - begun < START_SECONDS}
        return [
            (name, status)
            for name, status in self.processes.end_all(END_SECONDS)
            if status != 0 and not (status == -signal.SIGTERM and name in new)
        ]

    def left(self) -> list[str]:
        """What the services left: processes, and files in shared memory and temporary folders."""
        folders = [self.shm, self.folder / "tmp", self.folder / "spill"]
        files = [str(path) for folder in folders for path in folder.rglob("*") if not path.is_dir()]
        return [f"process {process.pid}: {' '.join(process.cmdline())[:100]}" for process in self.processes.marked()] + files

    def close(self) -> None:
        """End everything that is left, and remove the shared memory."""
        self.processes.end_all(0.0)
        self.server.stop()
        for process in self.processes.marked():
            process.kill()
        shutil.rmtree(self.shm, ignore_errors=True)


def _serve(arguments: list[str]) -> int:
    from headrace.cli.app import run

    sys.argv = ["headrace", *arguments]
    return run(arguments)
