"""Detection of runners that the kernel killed because memory ran out.

The kernel counts such kills, per control group and for the whole machine. If a runner ends by a SIGKILL that this host did not send, just
after the count rose, then the kernel killed it. The count is read now and then, and at each death, so that an older kill (of a process that
a task started, say) is not taken for this one.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


class OomKills:
    """The changes of the kernel's count. read: returns the count, or None if it cannot be read. seconds: see `Settings.oom_seconds`."""

    def __init__(self, read: Callable[[], int | None], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._count = read()
        self._rose = -math.inf

    def look(self, now: float) -> None:
        """Read the count. now: the time, by a monotonic clock."""
        count = self._read()
        if count is not None and self._count is not None and count > self._count:
            self._rose = now
        self._count = count

    def explains(self, code: int, killed: bool, now: float) -> bool:
        """Return whether the kernel killed a runner that ended with this code. killed: whether this host killed it."""
        self.look(now)
        return code == -signal.SIGKILL and not killed and now - self._rose <= self._seconds


class KillCount:
    """Reads the number of kills in this process's control group; without such a count, the number on the whole machine.

    It is called every half second, so it searches for the files again only when the process has moved to other groups.
    """

    def __init__(self, groups: Path = Path("/proc/self/cgroup"), root: Path = ROOT, machine: Path = Path("/proc/vmstat")) -> None:
        self._groups = str(groups)
        self._root = root
        self._machine = str(machine)
        self._known: str | None = None
        self._files: list[str] = []
        """Files that may have the count, the best first, while the groups are `_known`."""

    def __call__(self) -> int | None:
        """Return the count; None if there is none."""
        groups = _text(self._groups)
        if groups != self._known:
            self._known, self._files = groups, [*self._files_of(groups), self._machine]
        for file in self._files:
            count = _oom_kill(file)
            if count is not None:
                return count
        return None

    def _files_of(self, groups: str) -> Iterator[str]:
        for line in groups.splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                folder, name = self._root, "memory.events"
            elif "memory" in controllers.split(","):
                folder, name = self._root / "memory", "memory.oom_control"
            else:
                continue
            yield str(folder / path.lstrip("/") / name)
            yield str(folder / name)


def _oom_kill(file: str) -> int | None:
    for line in _text(file).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    return None


def _text(file: str) -> str:
    try:
        with open(file) as opened:
            return opened.read()
    except OSError:
        return ""


def be_killed_first() -> None:
    """Have the kernel kill this process, a runner, before others of this host if memory runs out.

    A dead runner is replaced, but a host without its agent is lost.
    """
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        return  # the kernel then chooses by size alone
