"""The processes of a cluster as a deployment has them: a nats-server and, each on its own, controllers, schedulers, publishers and workers.
Like Docker or systemd, it starts services again that end by themselves."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import psutil

from benchmarks.cgroups import Cgroup
from headrace.bus import BusSettings, EmbeddedServer
from headrace.errors import NatsUnreachable
from headrace.variables import shm_folder
from tests.chaos import filling
from tests.chaos.faults import CENTRAL
from tests.chaos.plan import Topology
from tests.chaos.processes import Processes, send
from tests.chaos.proxy import Links, free_ports, listen, run_proxy

PROXY = "proxy"
"""The process that no fault ends."""
RESTART_SECONDS = 0.5
"""Until a service that ended by itself is started again."""
END_SECONDS = 15.0
"""For the orderly end of all services."""
START_SECONDS = 3.0
"""In which a service may not have begun to handle signals."""
CAPACITY = {"": 400_000_000, "shm": 200_000_000, "spill": 80_000_000}
"""Bytes of each host's store, by the disk that gets full: more than the shared memory has then, or less than the jobs take."""
DISK_BYTES = {"shm": 600_000_000, "spill": 600_000_000, "store": 500_000_000}
"""Sizes of disks that the harness limits."""
LEFT_BYTES = {"shm": 100_000_000, "spill": 0, "store": 0}
"""What stays free when they are filled. A host with no shared memory at all can run nothing; this much holds what two tasks read and
make."""
MEMORY_BYTES = 700_000_000
"""Of the processes of a host together."""
ROOT = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class UnplannedEnd:
    """A service that ended though nobody killed it."""

    service: str
    status: int
    seconds: float


class Deployment:
    """One cluster in a folder of its own. Everything it starts ends with `close`."""

    def __init__(self, folder: Path, topology: Topology, clients: Sequence[str]) -> None:
        self.folder = folder
        self.clients = list(clients)
        self.topology = topology
        for name in ("logs", "tmp", "sinks", "spill"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.shm = Path(tempfile.mkdtemp(prefix="headrace-chaos-", dir=shm_folder()))
        self.groups: dict[str, Cgroup] = {}
        self._mounted: list[Path] = []
        self._limit()
        self.processes = Processes(self.shm.name, folder / "logs")
        self.server = EmbeddedServer(folder / "nats")
        self.server.start()
        self.unplanned: list[UnplannedEnd] = []
        self.excused: set[str] = set()
        """Services that the kernel may kill."""
        self._agenda: list[tuple[float, Callable[[], object]]] = []
        """What is to be done when, by the monotonic clock."""
        self._starts: dict[str, Callable[[], object]] = {}
        """What starts each process that is started again."""
        self._ended_by_us: dict[int, float] = {}
        """Processes that were sent a signal, and in how many seconds each is started again."""
        self._begun: dict[str, float] = {}
        """When each service was started last."""
        self._started = time.monotonic()
        self._ports: dict[str, int] = {}
        self.links = Links(self.shm / "proxy")
        self._start_proxy([*self.services, *clients])

    @property
    def services(self) -> list[str]:
        """The names of all services."""
        central = [f"{name}-{copy}" for name in CENTRAL for copy in range(self.topology.copies)]
        return [*central, *(f"host-{index}" for index in range(self.topology.hosts))]

    def _limit(self) -> None:
        """Make the disks and control groups that the plan asks for."""
        for host in (service for service in self.services if service.startswith("host-")):
            for kind in self.topology.limits & {"shm", "spill"}:
                self._mount(self.disk(kind, host), DISK_BYTES[kind])
            if "memory" in self.topology.limits and (group := Cgroup.make(MEMORY_BYTES)) is not None:
                self.groups[host] = group
        if "store" in self.topology.limits:
            self._mount(self.disk("store", ""), DISK_BYTES["store"])

    def disk(self, kind: str, host: str) -> Path:
        """The folder that a host, or nats-server, keeps data in. kind: shm, spill or store."""
        return {"shm": self.shm / host, "spill": self.folder / "spill" / host, "store": self.folder / "nats"}[kind]

    def _mount(self, folder: Path, nbytes: int) -> None:
        filling.mount(folder, nbytes)
        self._mounted.append(folder)

    def _start_proxy(self, connected: Sequence[str]) -> None:
        """Start the links: from every process to NATS, and from everybody to every host."""
        hosts = [name for name in connected if name.startswith("host-")]
        targets = {f"nats {name}": self.server.port for name in connected}
        targets |= {f"data {name}": port for name, port in zip(hosts, free_ports(len(hosts)), strict=True)}
        listening = dict(zip(targets, listen(len(targets)), strict=True))
        self._ports = {route: sock.getsockname()[1] for route, sock in listening.items()}
        self._data_ports = {name: targets[f"data {name}"] for name in hosts}
        main = partial(run_proxy, listening, targets, self.shm / "proxy")
        self.processes.fork(PROXY, main, self.environment(PROXY), [sock.fileno() for sock in listening.values()])
        for sock in listening.values():
            sock.close()

    def start(self, service: str) -> None:
        """Start a service."""
        kind = "worker" if service.startswith("host-") else service.partition("-")[0]
        self._begun[service] = time.monotonic()
        entrances = self.groups[service].entrances if service in self.groups else []
        main = partial(_serve, [kind, *self._arguments(service)], entrances)
        self.fork(service, main, again=lambda: self.start(service))

    def fork(self, name: str, main: Callable[[], int], again: Callable[[], object] | None = None) -> None:
        """Start a process. again: what starts it after a kill; None: nothing does."""
        if name not in self.processes.pids:
            if again is not None:
                self._starts[name] = again
            self.processes.fork(name, main, self.environment(name))

    def kill_server(self, back: float) -> bool:
        """Kill nats-server, and start it again after some seconds. Returns whether it ran."""
        if not send(self.server.pid, signal.SIGKILL):
            return False
        while self.server.pid:  # which reaps it
            time.sleep(0.001)
        self.later(back, self.start_server)
        return True

    def start_server(self) -> None:
        """Start nats-server again, now or as soon as it can be started."""
        try:
            self.server.start()
        except NatsUnreachable:
            self.later(RESTART_SECONDS, self.start_server)

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a process."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
        own = {"TMPDIR": str(self.folder / "tmp"), "PYTHONPATH": ROOT, "HEADRACE_LOG_LEVEL": "INFO", "HEADRACE_CONNECT_TIMEOUT": "60"}
        return kept | self.bus_settings(name).to_env() | own

    def bus_settings(self, name: str) -> BusSettings:
        """How a process connects to NATS."""
        port = self._ports.get(f"nats {name}", self.server.port)
        return msgspec.structs.replace(self.server.settings, url=f"nats://127.0.0.1:{port}")

    def _arguments(self, service: str) -> Iterator[str]:
        if service.startswith("host-"):
            shm, spill = self.disk("shm", service), self.disk("spill", service)
            capacity = min(CAPACITY[kind] for kind in ("", *self.topology.limits & {"shm", "spill"}))
            for folder in (shm, spill):
                folder.mkdir(exist_ok=True)
            yield from ("--host", service, "--runners", str(self.topology.runners), "--capacity", str(capacity))
            yield from ("--shm-dir", str(shm), "--spill-dir", str(spill))
            yield from ("--listen", f"127.0.0.1:{self._data_ports[service]}", "--advertise", f"127.0.0.1:{self._ports[f'data {service}']}")

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something in some seconds, during a `turn`."""
        self._agenda.append((time.monotonic() + seconds, action))

    @property
    def waits(self) -> bool:
        """Whether something is still to be done later."""
        return bool(self._agenda)

    @property
    def helpers(self) -> set[str]:
        """What still runs besides services, clients and links: what a fault has started."""
        return self.processes.pids.keys() - {PROXY, *self.services, *self.clients}

    def kill(self, names: Iterable[str], back: float, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send processes a signal that ends them, and start them again after some seconds. Returns whether one was there."""
        pids = [self.processes.pids[name] for name in names if name in self.processes.pids]
        self._ended_by_us.update(dict.fromkeys(pids, back))
        return sum(send(pid, number) for pid in pids) > 0

    def turn(self) -> list[tuple[str, int]]:
        """Take note of what ended, and do what is due. Returns what ended for good, with exit codes."""
        pids, ended = dict(self.processes.pids), []
        for name, status in self.processes.reap():
            back = self._ended_by_us.pop(pids[name], None)
            if back is not None:
                self.later(back, self._starts[name])
            elif name in self.services:
                if name not in self.excused:
                    self.unplanned.append(UnplannedEnd(name, status, time.monotonic() - self._started))
                self.later(RESTART_SECONDS, self._starts[name])
            else:
                ended.append((name, status))
        now = time.monotonic()
        due = [action for moment, action in self._agenda if moment <= now]
        self._agenda = [entry for entry in self._agenda if entry[0] > now]
        for action in due:
            action()
        return ended

    def runners(self, host: str) -> list[int]:
        """The process ids of a host's runners: the children of its fork server, which is the agent's only child."""
        try:
            agent = psutil.Process(self.processes.pids[host])
            return [runner.pid for server in agent.children() for runner in server.children()]
        except (KeyError, psutil.Error):
            return []

    def end_services(self) -> list[tuple[str, int]]:
        """End all services in order. Returns those that did not end well, with their exit codes."""
        new = {name for name, begun in self._begun.items() if time.monotonic() - begun < START_SECONDS}
        return [
            (name, status)
            for name, status in self.processes.end_all(END_SECONDS, [PROXY])
            if name in self.services and status != 0 and not (status == -signal.SIGTERM and name in new)
        ]

    def left(self) -> list[str]:
        """What the services left: processes, and files in shared memory and temporary folders."""
        folders = [self.shm, self.folder / "tmp", self.folder / "spill"]
        files = [str(path) for folder in folders for path in folder.rglob("*") if not path.is_dir() and path.name != PROXY]
        kept = self.processes.pids.values()
        left = [process for process in self.processes.marked() if process.pid not in kept]
        return [f"process {process.pid}: {' '.join(process.cmdline())[:100]}" for process in left] + files

    def close(self) -> None:
        """End everything that is left, and remove the shared memory."""
        self.processes.end_all(0.0)
        self.links.close()
        send(self.server.pid, signal.SIGCONT)
        self.server.stop()
        for process in self.processes.marked():
            process.kill()
        for group in self.groups.values():
            group.remove()
        for folder in self._mounted:
            filling.unmount(folder)
        shutil.rmtree(self.shm, ignore_errors=True)


def _serve(arguments: list[str], entrances: Sequence[str]) -> int:
    from headrace.cli.app import run

    filling.enter(entrances)
    sys.argv = ["headrace", *arguments]
    return run(arguments)
