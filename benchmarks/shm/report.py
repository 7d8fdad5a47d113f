"""The figures as Markdown tables for people, and as JSON for later."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks.shm.messages import Trip
from benchmarks.shm.timing import Sample

Results = dict[str, dict[int, Sample]]
"""By peer and size."""

SHORT = 1e-7
"""Seconds below which there is nothing to measure."""


def size_text(nbytes: int) -> str:
    """1024 -> '1 KB'.

    >>> size_text(1 << 15), size_text(1 << 30)
    ('32 KB', '1 GB')
    """
    for unit in ("B", "KB", "MB"):
        if nbytes < 1024:
            return f"{nbytes} {unit}"
        nbytes //= 1024
    return f"{nbytes} GB"


def time_text(seconds: float) -> str:
    """Microseconds or milliseconds, two or three digits.

    >>> time_text(0.0000123), time_text(0.25), time_text(0)
    ('12 µs', '250 ms', '-')
    """
    if seconds < SHORT:
        return "-"
    value, unit = (seconds * 1e6, "µs") if seconds < 1e-3 else (seconds * 1e3, "ms")
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def table(results: Results) -> str:
    """One row a size and peer."""
    rows = ["| size | | put | map | get | purge |", "|---|---|---|---|---|---|"]
    for nbytes in next(iter(results.values())):
        size = size_text(nbytes)
        for name, by_size in results.items():
            figures = " | ".join(time_text(seconds) for seconds in by_size[nbytes])
            rows.append(f"| {size} | {name} | {figures} |")
            size = ""
    return "\n".join(rows)


def trip_table(trips: Sequence[Trip]) -> str:
    """One row a size and way."""
    rows = ["| size | | round trip p50 | p99 | CPU of one side | GB/s |", "|---|---|---|---|---|---|"]
    for trip in trips:
        figures = " | ".join(time_text(seconds) for seconds in (trip.p50, trip.p99, trip.cpu))
        rows.append(f"| {size_text(trip.nbytes)} | {trip.how} | {figures} | {trip.bandwidth / 1e9:.2f} |")
    return "\n".join(rows)


def as_record(results: Results, trips: Sequence[Trip]) -> dict[str, Any]:
    """Everything measured, and on what, in plain types. Seconds and bytes."""
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "architecture": platform.machine(), "kernel": platform.release()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__} | _versions("iceoryx2", "ray", "zict"),
        "values": [
            {"peer": name, "nbytes": nbytes} | sample._asdict() for name, by_size in results.items() for nbytes, sample in by_size.items()
        ],
        "messages": [trip._asdict() for trip in trips],
    }


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
