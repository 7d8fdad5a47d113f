"""A plan of one planner for one instance and cluster, executed by the checker: one line of the results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.plans.checker import InvalidPlan, score
from benchmarks.plans.clusters import Cluster
from benchmarks.plans.emitted import Row
from benchmarks.plans.heft import heft
from benchmarks.plans.instances import Instance
from benchmarks.plans.records import emitted, file_name

Line = dict[str, Any]
"""{"instance", "planner", "hosts", "runners", "bandwidth", "makespan", "lower_bound", "bytes_moved", "peak_memory", "planning_s"}, in
seconds and bytes. The checker has executed the plan; the peak memory is that of the host that needs most. Without a plan, "error" follows
the bandwidth."""


class Made(NamedTuple):
    """The placements that a planner made, and the seconds that it took."""

    rows: list[Row]
    planning_s: float


class NoPlan(Exception):
    """A planner that has made no plan: it took too long, or failed."""


Planner = Callable[[Instance, Cluster], Made]
"""Makes a plan. Raises NoPlan."""


def line(instance: Instance, cluster: Cluster, name: str, planner: Planner, folder: Path | None = None) -> Line:
    """Let a planner make a plan, and return its line. folder: where to write the emitted plan."""
    head = {
        "instance": instance.name,
        "planner": name,
        "hosts": cluster.hosts,
        "runners": cluster.runners,
        "bandwidth": cluster.bandwidth,
    }
    try:
        made = planner(instance, cluster)
    except NoPlan as error:
        return head | {"error": str(error)}
    record = emitted(instance, cluster, name, made.rows)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file_name(instance, cluster, name)).write_text(json.dumps(record))
    return head | _figures(record) | {"planning_s": made.planning_s}


def _figures(record: Mapping[str, Any]) -> Line:
    try:
        found = score(record)
    except InvalidPlan as error:
        return {"error": f"invalid plan: {error}"}
    return {name: found[name] for name in ("makespan", "lower_bound", "bytes_moved", "peak_memory")}


def reference_heft(instance: Instance, cluster: Cluster) -> Made:
    """Plan with HEFT as `heft` has it."""
    start = time.perf_counter()
    rows = heft(instance, cluster)
    return Made(rows, time.perf_counter() - start)
