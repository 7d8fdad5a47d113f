"""Whether the kernel killed a process for want of memory: it counts these kills for each control group, and for the whole machine.

A runner that ends by a SIGKILL that this host did not send, just after the count rose, was killed for memory. The count is read now and
then, and at each death, so an older kill (of a process that a task had started, say) is not taken for this one.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path

RECENT_SECONDS = 3.0
"""A runner that ends within this time after the count rose was killed for memory: its death is known within milliseconds, or, on a machine
that has no memory left, within a second or two."""
ROOT = Path("/sys/fs/cgroup")


class OomKills:
    """The kernel's count, as it changes over time. read: returns it; None if it cannot be read."""

    def __init__(self, read: Callable[[], int | None]) -> None:
        self._read = read
        self._count = read()
        self._rose = -math.inf

    def look(self, now: float) -> None:
        """Read the count. now: by any clock that goes on."""
        count = self._read()
        if count is not None and self._count is not None and count > self._count:
            self._rose = now
        self._count = count

    def explains(self, code: int, killed: bool, now: float) -> bool:
        """Whether a runner that ended with this code was killed for memory. killed: whether this host killed it."""
        self.look(now)
        return code == -signal.SIGKILL and not killed and now - self._rose <= RECENT_SECONDS


def count_kills(groups: Path = Path("/proc/self/cgroup"), root: Path = ROOT, machine: Path = Path("/proc/vmstat")) -> int | None:
    """How often the kernel has killed a process of this process's control group for memory; for want of such a count, one of the whole
    machine. None if there is neither."""
    for line in _lines(groups):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files = [root / path.lstrip("/") / "memory.events", root / "memory.events"]
        elif "memory" in controllers.split(","):
            files = [root / "memory" / path.lstrip("/") / "memory.oom_control", root / "memory" / "memory.oom_control"]
        else:
            continue
        for file in files:
            count = _oom_kill(file)
            if count is not None:
                return count
    return _oom_kill(machine)


def _oom_kill(file: Path) -> int | None:
    for line in _lines(file):
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def be_killed_first() -> None:
    """Have the kernel kill this process before others of this host if memory runs out: a runner is replaced, an agent is a lost host."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        return  # then the kernel chooses by size alone
