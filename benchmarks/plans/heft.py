"""HEFT (10.1109/71.993206) with insertion, written for comparisons: it knows nothing of Headrace, and nothing of links that are shared.

Each runner is a processor. Data between runners of one host costs nothing; between hosts it costs the latency and its bytes divided by the
bandwidth, however much else is sent at that time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.plans.clusters import Cluster
from benchmarks.plans.emitted import Row
from benchmarks.plans.instances import Instance

NAME = "reference-heft"


def heft(instance: Instance, cluster: Cluster) -> list[Row]:
    """Return the placements of all tasks, in topological order."""
    costs = _costs(instance, cluster)
    ranks = _upward_ranks(instance, costs)
    order = sorted(range(len(ranks)), key=lambda task: (-ranks[task], task))
    runners = [(host, runner) for host in range(cluster.hosts) for runner in range(cluster.runners)]
    busy: dict[tuple[int, int], list[tuple[float, float]]] = {place: [] for place in runners}
    rows: dict[int, Row] = {}
    for task in order:
        seconds = instance.tasks[task].seconds
        ready = _ready_times(costs[task], rows, cluster.hosts)
        start, place = min((_gap(busy[place], ready[place[0]], seconds), place) for place in runners)
        intervals = busy[place]
        intervals.insert(bisect_left(intervals, (start, start + seconds)), (start, start + seconds))
        rows[task] = Row(task, *place, start, start + seconds)
    return [rows[task] for task in range(len(instance.tasks))]


def _costs(instance: Instance, cluster: Cluster) -> list[dict[int, float]]:
    """Return, per task, the seconds that the data of each task before it takes from another host."""
    costs = []
    for task in instance.tasks:
        nbytes: dict[int, int] = defaultdict(int)
        for source, output in task.inputs:
            nbytes[source] += instance.tasks[source].outputs[output]
        costs.append({source: cluster.latency + size / cluster.bandwidth for source, size in nbytes.items()})
    return costs


def _upward_ranks(instance: Instance, costs: Sequence[dict[int, float]]) -> list[float]:
    """Return the longest path from each task to the end, with its data sent at each step. A task ranks above what it feeds, even if it and
    its data take no time: ties go to the task that comes first."""
    ranks = [0.0] * len(instance.tasks)
    for index in reversed(range(len(ranks))):
        ranks[index] += instance.tasks[index].seconds
        for source, cost in costs[index].items():
            ranks[source] = max(ranks[source], cost + ranks[index])
    return ranks


def _ready_times(costs: dict[int, float], rows: dict[int, Row], hosts: int) -> list[float]:
    """Return when the inputs of a task are on each host."""
    ready = [0.0] * hosts
    for source, cost in costs.items():
        row = rows[source]
        for host in range(hosts):
            ready[host] = max(ready[host], row.end if row.host == host else row.end + cost)
    return ready


def _gap(busy: Sequence[tuple[float, float]], ready: float, seconds: float) -> float:
    """Return the earliest start on a runner: in a gap that is long enough, or at the end."""
    start = ready
    for begin, end in busy:
        if start + seconds <= begin:
            return start
        start = max(start, end)
    return start
