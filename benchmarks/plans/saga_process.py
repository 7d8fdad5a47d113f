"""The process that SAGA's algorithms run in: `saga` sends it lines of JSON on its standard input, and it answers each with a line.

    {"algorithm": "HeftScheduler", "tasks": [[seconds, [[task, bytes], ...]], ...], "hosts": 8, "bandwidth": 1e8}
    ->  {"placements": [[task, host, start, end], ...], "planning_s": 0.8}, or {"error": "..."}

The first line that it writes, {"algorithms": [...]}, names the algorithms.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

LEFT_OUT = {"BruteForceScheduler", "SMTScheduler", "HybridScheduler"}
"""Two exact solvers, and a wrapper that chooses between the plans of other algorithms."""


def algorithms() -> list[str]:
    """Return the names of SAGA's algorithms for one deterministic instance."""
    return sorted(set(importlib.import_module("saga.schedulers").__all__) - LEFT_OUT)


def answer(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what SAGA says to one order."""
    saga = importlib.import_module("saga")
    algorithm = getattr(importlib.import_module("saga.schedulers"), order["algorithm"])()
    graph = saga.TaskGraph.create(*_graph(order["tasks"]))
    network = saga.Network.create(*_network(order["hosts"], order["bandwidth"]))
    random.seed(0)
    start = time.perf_counter()
    try:
        schedule = algorithm.schedule(network, graph)
    except Exception as error:  # a fault of the algorithm, which the table shows
        return {"error": f"{type(error).__name__}: {error}"}
    took = time.perf_counter() - start
    placed = [task for tasks in schedule.mapping.values() for task in tasks if task.name.isdecimal()]  # not SAGA's own source and sink
    return {"placements": [[int(task.name), int(task.node), task.start, task.end] for task in placed], "planning_s": took}


def _graph(tasks: Sequence[Any]) -> tuple[list[tuple[str, float]], list[tuple[str, str, float]]]:
    nodes = [(str(index), seconds) for index, (seconds, _) in enumerate(tasks)]
    edges = [(str(source), str(index), nbytes) for index, (_, inputs) in enumerate(tasks) for source, nbytes in inputs]
    return nodes, edges


def _network(hosts: int, bandwidth: float) -> tuple[list[tuple[str, float]], list[tuple[str, str, float]]]:
    names = [str(host) for host in range(hosts)]
    return [(name, 1.0) for name in names], [(a, b, bandwidth) for a in names for b in names if a < b]


def main() -> None:
    """Answer requests until the input ends. Everything that SAGA prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.WARNING)  # it warns of each graph with several sources or sinks
    print(json.dumps({"algorithms": algorithms()}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
