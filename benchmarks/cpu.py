"""CPU seconds of processes, by what they are there for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

NANO = 1e-9


class CpuClock:
    """CPU seconds from its making on, per role. Processes that end meanwhile count in the total only.

    roles: tells what the processes that there are at the moment are there for, by process id. total_file: a control group's own count,
    which sees every process; without one the total is the sum of the roles.
    """

    def __init__(self, roles: Callable[[], Mapping[int, str]], total_file: str = "") -> None:
        self._roles = roles
        self._total_file = total_file
        self._before = {pid: cpu_seconds(pid) for pid in roles()}
        self._total_before = self._total()

    def seconds(self) -> dict[str, float]:
        """Per role, and under "total" for everything."""
        total = self._total() - self._total_before
        spent: dict[str, float] = {}
        for pid, role in self._roles().items():
            spent[role] = spent.get(role, 0.0) + max(0.0, cpu_seconds(pid) - self._before.get(pid, 0.0))
        return spent | {"total": max(total, sum(spent.values()))}  # a group's count lags behind by a tick

    def _total(self) -> float:
        return cgroup_cpu_seconds(Path(self._total_file)) if self._total_file else 0.0


def cgroup_cpu_seconds(file: Path) -> float:
    """Of a cpuacct.usage (version 1) or a cpu.stat (version 2)."""
    text = file.read_text()
    if text.startswith("usage_usec"):
        return int(text.split()[1]) * 1e-6
    return int(text) * NANO


def cpu_seconds(pid: int) -> float:
    """Of all threads that a process has now, to the nanosecond where the kernel tells; 0 for a process that is gone.

    Of another process that runs just now, the kernel tells it as of its last tick.
    """
    if pid == os.getpid():
        return time.process_time()
    try:
        folder = f"/proc/{pid}/task"
        return NANO * sum(int(Path(folder, thread, "schedstat").read_text().split()[0]) for thread in os.listdir(folder))
    except OSError:
        return _coarse_cpu_seconds(pid)


def _coarse_cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
