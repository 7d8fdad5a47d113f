"""Many jobs at once, and a long log: how jobs per second depend on the number of jobs, and a connected client's latency on the log.

python -m benchmarks.many                      # 500 x 200, 5,000 x 20 and 20,000 x 1
python -m benchmarks.many --jobs 500x200       # one of them, with the CPU time of each process
python -m benchmarks.many --log 200,20000      # a single task of a client that connected, with so many jobs in the log
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator

import psutil

import headrace as hr

SIZES = ["500x200", "5000x20", "20000x1"]
WIDTH = 20
"""Tasks of a layer."""
TIMEOUT = 300.0
AT_ONCE = 200
"""Jobs that are submitted together to make the log longer."""
REPEATS = 50


def one(number: int) -> int:
    """A task without inputs."""
    return number


def add(a: int, b: int, c: int) -> int:
    """A task of an inner layer."""
    return (a + b + c) & 0xFFFF


def layered(n_tasks: int) -> hr.Graph:
    """A small graph: layers of tasks, each with three inputs from the layer before."""
    graph, chance, width = hr.Graph("small"), random.Random(0), min(WIDTH, n_tasks)
    row = [graph.add(one, number) for number in range(width)]
    for _ in range(n_tasks // width - 1):
        row = [graph.add(add, *chance.sample(row, 3)) for _ in range(width)]
    return graph


def many_jobs(n_jobs: int, n_tasks: int) -> None:
    """Submit jobs without waiting, then wait for all; print the time, and the CPU time of each process."""
    with hr.Cluster.local(hosts=2, runners=1, progress=False) as cluster:
        cluster.submit(layered(n_tasks)).results(TIMEOUT)
        before, began = _cpu(cluster), time.monotonic()
        jobs = [cluster.submit(layered(n_tasks)) for _ in range(n_jobs)]
        for job in jobs:
            job.wait(max(1.0, began + TIMEOUT - time.monotonic()))
        took, after = time.monotonic() - began, _cpu(cluster)
        used = {name: after[name] - before.get(name, 0.0) for name in after}
    print(f"{n_jobs:,} jobs of {n_tasks}: {took:.1f} s, {n_jobs / took:,.0f} jobs/s, {sum(used.values()):.1f} s of CPU", flush=True)
    print("   " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in used.items() if seconds >= 0.05), flush=True)


def latencies(targets: list[int]) -> None:
    """Print the median time of a single task for a client of a cluster of its own and for one that connected, at several lengths."""
    with hr.Cluster.local(hosts=1, runners=1, progress=False) as own, hr.Cluster.connect(own.url, token=own.token) as client:
        total = 0
        for target in targets:
            while total < target:
                for job in [own.submit(layered(1)) for _ in range(AT_ONCE)]:
                    job.wait(TIMEOUT)
                total += AT_ONCE
            print(f"{total:,} jobs in the log: own {_median(own):.2f} ms, connected {_median(client):.2f} ms", flush=True)
            total += 2 * REPEATS


def _median(cluster: hr.Cluster) -> float:
    return statistics.median(_times(cluster)) * 1e3


def _times(cluster: hr.Cluster) -> Iterator[float]:
    for _ in range(REPEATS):
        began = time.perf_counter()
        cluster.submit(layered(1)).results(TIMEOUT)
        yield time.perf_counter() - began


def _cpu(cluster: hr.Cluster) -> dict[str, float]:
    """CPU seconds so far of this process and of the cluster's, by name; runners are counted together."""
    names = {pid: name for name, pid in cluster.pids().items()}
    found = {"client": _seconds(psutil.Process())}
    for process in psutil.Process(cluster.pids()["supervisor"]).children(recursive=True):
        name = names.get(process.pid, "nats-server" if "nats" in process.name() else "runners")
        found[name] = found.get(name, 0.0) + _seconds(process)
    return found


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description="Many jobs at once, and a long log.")
    parser.add_argument("--jobs", default="", help="JOBSxTASKS, several separated by commas")
    parser.add_argument("--log", default="", help="numbers of jobs in the log, separated by commas")
    options = parser.parse_args()
    if options.log:
        latencies([int(number) for number in options.log.split(",")])
    for size in options.jobs.split(",") if options.jobs else [] if options.log else SIZES:
        many_jobs(*map(int, size.split("x")))


if __name__ == "__main__":
    main()
