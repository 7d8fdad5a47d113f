"""Control groups of Linux: the high-water mark of the memory of a tree of processes, a limit to it, and their CPU time.

Memory is charged to the group of the process that touched it first, so what processes share counts once: shared memory, and files that
they wrote or were the first to read. Needs the right to make groups, which is root's as a rule; without it nothing is measured.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
KILL_SECONDS = 10.0
"""After so long a killed process is not waited for any more: it hangs in the kernel."""


class Cgroup:
    """A group of processes, made with `make`."""

    def __init__(self, folders: list[Path], *, unified: bool) -> None:
        self._folders = folders
        self._unified = unified

    @classmethod
    def make(cls, memory_limit: int = 0) -> Cgroup | None:
        """An empty group; None where none can be made. memory_limit: bytes, 0 for none. Raises OSError for a limit that is refused."""
        name = f"headrace-bench-{os.getpid()}-{secrets.token_hex(3)}"
        unified = (ROOT / "cgroup.controllers").exists()
        group = cls([], unified=unified)
        try:
            for parent in (ROOT,) if unified else (ROOT / "memory", ROOT / "cpuacct"):
                (parent / name).mkdir()
                group._folders.append(parent / name)
            group.peak()  # which fails where the kernel or the group above has no memory control
        except OSError:
            group.remove()
            return None
        if memory_limit:
            group._limit(memory_limit)
        return group

    @property
    def entrances(self) -> list[str]:
        """Files to which a process writes its id to enter the group, with all its future children."""
        return [str(folder / "cgroup.procs") for folder in self._folders]

    @property
    def cpu_file(self) -> str:
        """For `benchmarks.cpu`."""
        return str(self._folders[0] / "cpu.stat" if self._unified else self._folders[1] / "cpuacct.usage")

    def peak(self) -> int:
        """Bytes that the group has had at most."""
        return int((self._folders[0] / ("memory.peak" if self._unified else "memory.max_usage_in_bytes")).read_text())

    def out_of_memory(self) -> bool:
        """Whether a process of the group was killed because the limit was reached."""
        file = self._folders[0] / ("memory.events" if self._unified else "memory.oom_control")
        return any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in file.read_text().splitlines())

    def kill(self) -> None:
        """Kill every process of the group."""
        deadline = time.monotonic() + KILL_SECONDS
        while (pids := self._pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def remove(self) -> None:
        """Kill what is in the group, and remove it."""
        if self._folders:
            self.kill()
        for folder in self._folders:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _pids(self) -> list[int]:
        return [int(pid) for pid in (self._folders[0] / "cgroup.procs").read_text().split()]

    def _limit(self, limit: int) -> None:
        (self._folders[0] / ("memory.max" if self._unified else "memory.limit_in_bytes")).write_text(str(limit))
