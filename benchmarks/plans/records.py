"""Emitted plans, as JSON values, of instances on clusters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.plans.clusters import Cluster
from benchmarks.plans.emitted import Row
from benchmarks.plans.instances import Instance


def emitted(instance: Instance, cluster: Cluster, planner: str, rows: Iterable[Row]) -> dict[str, Any]:
    """Return the JSON value of a plan; `emitted` describes the format.

    Rows that start and end together, since they take no time, are in the order of their tasks, which is topological.
    """
    return {
        "instance": instance.name,
        "planner": planner,
        "tasks": [
            [number, task.seconds, list(task.outputs), [list(pair) for pair in task.inputs]] for number, task in enumerate(instance.tasks)
        ],
        "names": [task.id for task in instance.tasks],
        "hosts": cluster.hosts,
        "runners": cluster.runners,
        "bandwidth": cluster.bandwidth,
        "latency": cluster.latency,
        "placements": [list(row) for row in sorted(rows, key=lambda row: (row.start, row.end, row.task))],
    }


def file_name(instance: Instance, cluster: Cluster, planner: str) -> str:
    """Return the name of the file for an emitted plan."""
    parts: Sequence[str] = (instance.name, cluster.label, planner)
    return ".".join(re.sub(r"[^\w-]+", "-", part).strip("-") for part in parts) + ".json"
