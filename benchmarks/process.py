"""A peer in a process of its own, seen from the one that measures: asked, waited for, and ended with all that it started."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cgroups import Cgroup
from benchmarks.graphs import Case
from benchmarks.peers import PEERS, Layout

PROJECT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0
"""A peer that does not stand ready by then never will."""
END_SECONDS = 20.0
"""What a peer may take to end in order; then it is killed."""
LOG_TAIL = 2000  # bytes of a peer's log that an error shows
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Threads inside tasks would blur the comparison."""
OWN_SHM = 'mount -t tmpfs -o size=100% tmpfs /dev/shm && exec "$@"'
"""Shared memory of its own: what a killed peer leaves there goes with its last process."""


class PeerFailed(Exception):
    """A peer did not do what it was asked: `reason` in a few words for the table, and the end of its log."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.log = log


class PeerProcess:
    """One peer with nothing but its own: process tree, temporary folder, and where there can be one, control group and shared memory.

    source: another checkout whose Headrace it runs, with this one's benchmarks. started: seconds from the start of its cluster to its
    readiness; importing it does not count. Raises PeerFailed if it does not start.
    """

    def __init__(self, peer: str, layout: Layout, source: Path | None = None) -> None:
        self.peer = peer
        self._source = source
        self._group = Cgroup.make(layout.memory)
        self._folder = Path(tempfile.mkdtemp(prefix="hrb-"))  # short: paths of sockets in it must be
        with open(self._folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                self._command(layout), cwd=PROJECT, env=self._environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._pending = b""
        self._hangs = False
        try:
            self.started: float = self._read(START_SECONDS)["started"]
        except BaseException:
            self.close()
            raise

    def run(self, case: Case, timeout: float) -> dict[str, Any]:
        """What the peer measured. Raises PeerFailed if it takes longer than `timeout` seconds, or fails."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"graph": case.graph, "arguments": case.arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("ended") from None
        measured = self._read(timeout)
        if "error" in measured:
            raise self._failure(measured["error"])
        return measured

    def peak(self) -> int | None:
        """Bytes that all its processes have had at most, what they share counted once; None where that cannot be known."""
        return self._group.peak() if self._group else None

    def close(self) -> None:
        """End it: in order if it will, with everything that it started, and remove its files."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        descendants = _descendants(self._process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS if not self._hangs else 0)
        self._process.kill()
        _kill(descendants)
        if self._group:
            self._group.remove()
        self._process.wait()
        sweep_sockets(PEERS[self.peer].sockets)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _command(self, layout: Layout) -> list[str]:
        command = [sys.executable, "-m", "benchmarks.adapter", self.peer, f"--hosts={layout.hosts}", f"--runners={layout.runners}"]
        command += [f"--memory={layout.memory}"]
        if self._group:
            command += [f"--cpu-file={self._group.cpu_file}"]
            enter = "; ".join(f"echo $$ > {entrance}" for entrance in self._group.entrances)
            command = ["sh", "-c", f'{enter}; exec "$@"', "sh", *command]
        return ["unshare", "--mount", "sh", "-c", OWN_SHM, "sh", *command] if _can_unshare() else command

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, **ONE_THREAD, **PEERS[self.peer].environment, "TMPDIR": str(self._folder)}
        if self._source is not None:  # ahead of the installed packages
            environment["PYTHONPATH"] = os.pathsep.join(str(self._source / folder) for folder in ("services", "schemas", "libs"))
        return environment

    def _read(self, timeout: float) -> dict[str, Any]:
        """The next line of the peer."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._hangs = True
                    raise self._failure(f"> {timeout:.0f} s")
                chunk = os.read(self._process.stdout.fileno(), 1 << 20)
                if not chunk:
                    raise self._failure("ended")
                self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failure(self, reason: str) -> PeerFailed:
        log = (self._folder / "log").read_bytes()[-LOG_TAIL:].decode(errors="replace")
        return PeerFailed("out of memory" if self._group and self._group.out_of_memory() else reason, log)


def sweep_sockets(pattern: str) -> None:
    """Remove the sockets with paths like this that nobody listens on."""
    for path in glob.glob(pattern) if pattern else ():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            except OSError:  # somebody else's, or gone
                continue


def _can_unshare() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("unshare") is not None and Path("/dev/shm").is_dir()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
