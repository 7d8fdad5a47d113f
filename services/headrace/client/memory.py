"""Measures the peak memory of a local cluster."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

_KIB = 1024


def private_peaks(supervisor: int) -> int:
    """Return the sum, in bytes, of the private peaks of this process, the supervisor and all its living descendants."""
    processes = [psutil.Process(), psutil.Process(supervisor)]
    processes += processes[1].children(recursive=True)
    return sum(private_peak(process.pid) for process in processes)


def private_peak(pid: int) -> int:
    """Return the most private bytes that a process has held; 0 if the process is gone.

    The kernel records the peak of everything that a process has mapped. From that, this subtracts what the process shares with others now
    (code, pages from before a fork, the store). Without /proc, it returns the present private bytes.
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
