"""How a service starts on a long log: seconds until it leads, and its memory then, with many ended jobs in the log and with none.

python -m benchmarks.restart                   # 10,000 ended jobs
python -m benchmarks.restart --jobs 2000 --repeat 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import psutil

import headrace as hr
from benchmarks.cpu import cpu_seconds
from benchmarks.many import AT_ONCE, layered
from headrace.bus import Bus, BusSettings
from headrace.bus.server import EmbeddedServer
from headrace.bus.snapshots import REST_SECONDS
from headrace.errors import HeadraceError

SERVICES = ("controller", "scheduler", "publisher")
JOBS = 10_000
REPEATS = 3
TIMEOUT = 120.0
LOOK_SECONDS = 0.01
STOP_SECONDS = 10.0
SNAPSHOT_SECONDS = 2 * REST_SECONDS
"""By then the last snapshot was stored. A service that starts before reads more of the log."""


class Start(NamedTuple):
    """One start of a service, until it leads. cpu: seconds of its CPU time. bytes: of its memory that it shares with nobody."""

    seconds: float
    cpu: float
    bytes: float


class Services:
    """The services of a cluster, each a process, on a server."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._settings = server.settings
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Start a service."""
        command = [sys.executable, "-m", "headrace.cli", name, *arguments]
        self._running[name] = subprocess.Popen(command, env={**os.environ, **self._settings.to_env()})

    def stop(self, name: str) -> None:
        """End a service in order."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)

    def stop_all(self) -> None:
        """End all, the worker first."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def restart(self, name: str) -> Start:
        """Stop a service and start it again."""
        self.stop(name)
        began = time.perf_counter()
        self.start(name)
        until_status(self._settings, name, lambda status: bool(status.get("leading")))
        seconds = time.perf_counter() - began
        process = psutil.Process(self._running[name].pid)
        return Start(seconds, cpu_seconds(process.pid), float(process.memory_full_info().uss))


def until_status(settings: BusSettings, name: str, is_right: Callable[[dict[str, object]], bool]) -> None:
    """Ask a service for its status until that is right. Raises TimeoutError if it never is."""

    async def ask() -> None:
        async with asyncio.timeout(TIMEOUT), await Bus.connect(settings, "benchmark") as bus:
            while True:
                try:
                    answer = await bus.request(f"headrace.service.headrace-{name}.status", timeout=0.1)
                    if is_right(msgspec.json.decode(answer)):
                        return
                except (HeadraceError, TimeoutError):
                    pass
                await asyncio.sleep(LOOK_SECONDS)

    asyncio.run(ask())


def run_jobs(settings: BusSettings, count: int) -> None:
    """Run jobs of one task, some at once, and fetch what they return."""
    with hr.Cluster.connect(settings.url, token=settings.token, progress=False) as cluster:
        for first in range(0, count, AT_ONCE):
            for job in [cluster.submit(layered(1)) for _ in range(min(AT_ONCE, count - first))]:
                job.results(TIMEOUT)


def measure(services: Services, repeats: int) -> dict[str, Start]:
    """The median start of each service."""
    found = {}
    for name in SERVICES:
        starts = [services.restart(name) for _ in range(repeats)]
        found[name] = Start(*map(statistics.median, zip(*starts, strict=True)))
    return found


def compare(jobs: int, repeats: int) -> None:
    """Print how services start without and with ended jobs in the log."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(folder) as server:
        services = Services(server)
        for name in SERVICES:
            services.start(name)
            until_status(server.settings, name, lambda status: bool(status.get("leading")))
        services.start("worker", "--runners", "1")
        try:
            run_jobs(server.settings, 1)
            empty = measure(services, repeats)
            run_jobs(server.settings, jobs)
            until_status(server.settings, "controller", lambda status: status.get("n_jobs") == 0)
            time.sleep(SNAPSHOT_SECONDS)
            long = measure(services, repeats)
        finally:
            services.stop_all()
    print(f"{jobs:,} ended jobs in the log, against none; medians of {repeats} starts")
    for name in SERVICES:
        before, after = empty[name], long[name]
        seconds = f"{before.seconds:.2f} s -> {after.seconds:.2f} s ({after.seconds / before.seconds:.1f} times)"
        print(
            f"   {name}: leads after {seconds}, memory {before.bytes / 1e6:.0f} MB {(after.bytes - before.bytes) / 1e6:+.1f} MB", flush=True
        )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description="How services start on a long log.")
    parser.add_argument("--jobs", type=int, default=JOBS, help="ended jobs in the log")
    parser.add_argument("--repeat", type=int, default=REPEATS, help="starts of each service")
    options = parser.parse_args()
    compare(options.jobs, options.repeat)


if __name__ == "__main__":
    main()
