"""A cluster whose hosts have nothing in common but a network: the central services in the hub of the namespaces, a worker on each host."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.network import Network
from benchmarks.process import PROJECT
from headrace.bus.server import server_binary
from headrace_shm.backing import default_folder

PORT = 4222
MONITOR_PORT = 8222
"""Of the NATS server: how many bytes it has passed on, among other things."""
CONNECT_SECONDS = 60
"""Until the NATS server has to answer, which starts at the same time as everything else."""
END_SECONDS = 10.0
"""What a process may take to end in order; then it is killed."""

Command = tuple[list[str], dict[str, str]]
"""With what its environment has besides this process's."""


class Spread(NamedTuple):
    """url: of the NATS server, inside the network. shm: folders of the workers' shared memory. log: what everybody said."""

    url: str
    shm: list[Path]
    log: Path


@contextlib.contextmanager
def cluster(net: Network, capacity: int) -> Iterator[Spread]:
    """Started, but maybe not ready. capacity: bytes of each host's store. Everything is ended, by process ids, and removed on leaving."""
    with tempfile.TemporaryDirectory(prefix="hrb-") as folder, tempfile.TemporaryDirectory(prefix="hrb-", dir=default_folder()) as shm:
        spread = Spread(f"nats://{net.address(net.hub)}:{PORT}", [Path(shm, host) for host in net.hosts], Path(folder, "log"))
        for each in spread.shm:
            each.mkdir()
        server = [server_binary(), "-js", "-sd", f"{folder}/js", "-a", net.address(net.hub), "-p", str(PORT), "-m", str(MONITOR_PORT)]
        with _started([(net.inside(net.hub, server), {})], spread.log), _started(_services(net, spread, capacity), spread.log):
            yield spread  # the services end before the server, for they take leave of it


def _services(net: Network, spread: Spread, capacity: int) -> Iterator[Command]:
    env = {"HEADRACE_URL": spread.url, "HEADRACE_CONNECT_TIMEOUT": str(CONNECT_SECONDS)}
    service = [sys.executable, "-m", "headrace.cli"]
    for name in ("controller", "scheduler", "publisher"):
        yield net.inside(net.hub, [*service, name]), env
    for index, (host, shm) in enumerate(zip(net.hosts, spread.shm, strict=True)):
        own = {
            "HEADRACE_HOST": f"h{index}",
            "HEADRACE_LISTEN": f"{net.address(host)}:0",
            "HEADRACE_SHM_DIR": str(shm),
            "HEADRACE_CAPACITY": str(capacity),
            "HEADRACE_RUNNERS": "1",
        }
        yield net.inside(host, [*service, "worker"]), env | own


@contextlib.contextmanager
def _started(commands: Iterable[Command], log: Path) -> Iterator[None]:
    """Processes that say what they say in a file, ended in the opposite order."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with open(log, "ab") as out:
            for command, env in commands:
                processes.append(subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **env}, stdout=out, stderr=out))
        yield
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in reversed(processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            process.kill()
            process.wait()
