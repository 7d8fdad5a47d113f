"""How much memory a local cluster has needed at most."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

_KIB = 1024
_BLOCK = 512
"""Bytes in a block of `stat`, whatever the file system's own are."""


def peak_memory(supervisor: int, shm: Path) -> int:
    """Bytes: the private peaks of this process, the supervisor and all its descendants that live, and what the stores have taken
    from the system."""
    processes = [psutil.Process(), psutil.Process(supervisor)]
    processes += processes[1].children(recursive=True)
    pids = [process.pid for process in processes]
    return sum(map(private_peak, pids)) + allocated(pids, shm)


def private_peak(pid: int) -> int:
    """Bytes of its own that a process has held at most; 0 for one that is gone.

    The kernel keeps the peak of everything a process has mapped. What it shares with others now (code, pages from before a fork,
    the store) is taken off. Where there is no /proc, it is what the process holds of its own now.
    """
    try:
        peak = _field(Path(f"/proc/{pid}/status").read_text(), "VmHWM")
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except FileNotFoundError:
        return _private_now(pid)
    except (ProcessLookupError, PermissionError):
        return 0
    private = _field(rollup, "Private_Clean") + _field(rollup, "Private_Dirty")
    return max(private, peak - (_field(rollup, "Rss") - private))


def allocated(pids: Iterable[int], shm: Path) -> int:
    """Bytes of memory behind the files that these processes have open in a folder of shared memory. A store keeps what it took
    from the system, to use it again, so this is its peak."""
    blocks: dict[tuple[int, int], int] = {}
    for pid in pids:
        for descriptor in _open_in(pid, shm):
            with contextlib.suppress(OSError):
                status = descriptor.stat()
                blocks[status.st_dev, status.st_ino] = status.st_blocks
    return sum(blocks.values()) * _BLOCK


def _open_in(pid: int, folder: Path) -> Iterator[Path]:
    """The entries in /proc of a process's open files in a folder. Stores have no name there, and the kernel says "deleted" behind
    the one it gave them."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if os.readlink(descriptor).startswith(f"{folder}/"):
                yield descriptor


def _private_now(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except psutil.Error:
        return 0


def _field(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * _KIB if found else 0
