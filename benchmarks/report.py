"""Timings as a table for people, and as JSON for later."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.measure import Timing


def throughput_table(timings: Sequence[Timing]) -> Table:
    """One row a graph and peer: median wall seconds, tasks/s, and how many times serial Python's time it took."""
    table = Table(title="Throughput: medians", title_justify="left")
    table.add_column("graph")
    table.add_column("peer")
    for column in ("tasks", "wall, s", "tasks/s", "x serial"):
        table.add_column(column, justify="right")
    for timing in timings:
        ratio = timing.wall / serial_of(timing, timings).wall
        new_graph = timing.peer == "serial"
        table.add_row(
            timing.graph if new_graph else "",
            timing.peer,
            f"{timing.tasks:,}" if new_graph else "",
            f"{timing.wall:.4f}",
            f"{timing.speed:,.0f}",
            f"{ratio:.2f}",
        )
    return table


def latency_table(timings: Sequence[Timing]) -> Table:
    """One row a peer: the median and the 99th percentile of its round trips, in milliseconds."""
    table = Table(title="Latency: round trips of a single task", title_justify="left")
    table.add_column("peer")
    for column in ("trips", "p50, ms", "p99, ms"):
        table.add_column(column, justify="right")
    for timing in timings:
        p50, p99 = 1000 * np.percentile(timing.walls, (50, 99))
        table.add_row(timing.peer, f"{len(timing.walls):,}", f"{p50:.3f}", f"{p99:.3f}")
    return table


def serial_of(timing: Timing, timings: Sequence[Timing]) -> Timing:
    """Serial Python's timing of the same graph."""
    return next(other for other in timings if other.peer == "serial" and other.graph == timing.graph)


def as_record(timings: Sequence[Timing], hosts: int, runners: int) -> dict[str, Any]:
    """Everything measured, and on what, in plain types. Seconds."""
    machine = {"cpus": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "cluster": {"hosts": hosts, "runners": runners},
        "timings": [timing._asdict() | {"wall": timing.wall, "tasks_per_second": timing.speed} for timing in timings],
    }


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write the record, indented."""
    path.write_text(json.dumps(record, indent=2) + "\n")
