"""How much memory a local cluster has needed at most."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

_KIB = 1024


def private_peaks(supervisor: int) -> int:
    """Bytes: the private peaks of this process, the supervisor and all its descendants that live, added up."""
    processes = [psutil.Process(), psutil.Process(supervisor)]
    processes += processes[1].children(recursive=True)
    return sum(private_peak(process.pid) for process in processes)


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


def _private_now(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except psutil.Error:
        return 0


def _field(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * _KIB if found else 0
