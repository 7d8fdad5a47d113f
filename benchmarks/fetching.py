"""What it costs a client to fetch the same bytes as one array, and as forty.

    python -m benchmarks.fetching [MB] [TURNS]

Both are fetched in turns from a warm cluster of one host, for memory that a machine has not used before costs several times as much as
memory that it has. Medians count: the client's CPU time a gigabyte, user and system together, the time it took, and the most memory that
the client had beyond the bytes of the values.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import headrace as hr

MEGABYTES, TURNS = 1_000, 3
COUNTS = (1, 40)
TIMEOUT = 120.0
MB = 1_000_000


class Fetch(NamedTuple):
    """One fetch: seconds of CPU and of the clock, and bytes beyond the values at the peak."""

    cpu: float
    wall: float
    extra: float


def make(n: int, value: int) -> npt.NDArray[np.float64]:
    """An array of `n` numbers, in the host's store."""
    array = hr.empty(n)
    array[:] = value
    return array


def fetch(cluster: hr.Cluster, megabytes: int, count: int) -> Fetch:
    """Have arrays made, and fetch them."""
    graph = hr.Graph("fetching")
    graph.output([graph.add(make, megabytes * MB // 8 // count, k, name=f"array-{k}") for k in range(count)])
    job = cluster.submit(graph)
    job.wait(TIMEOUT)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    held, before, began = _memory("VmRSS"), resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    values = job.results(TIMEOUT)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    assert all(value[0] == value[-1] == int(name.split("-")[1]) for name, value in values.items())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Fetch(cpu, wall, _memory("VmHWM") - held - megabytes * MB)


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main(megabytes: int = MEGABYTES, turns: int = TURNS) -> None:
    """Measure, and print a line for each number of arrays."""
    with hr.Cluster.local(runners=1, capacity=3 * megabytes * MB) as cluster:
        for count in COUNTS:
            fetch(cluster, megabytes, count)
        found = [{count: fetch(cluster, megabytes, count) for count in COUNTS} for _ in range(turns)]
    for count in COUNTS:
        cpu, wall, extra = (median(turn[count][k] for turn in found) for k in range(3))
        print(f"{count:3} arrays: {cpu * 1000 / megabytes:.2f} s of CPU a GB, {wall:.2f} s, {extra / MB:.0f} MB beside the values")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
