"""Time graphs beside serial Python: `python -m benchmarks`, or `python -m benchmarks --graph flat --n 1000 --json FILE`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from benchmarks import measure, report
from benchmarks.graphs import GRAPHS, LATENCY_TRIPS
from benchmarks.peers import Peer, openers

ONE_BLAS_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    sizes = "; ".join(f"{name}: {kind.counts}, {kind.n}" for name, kind in GRAPHS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--graph", nargs="+", choices=[*GRAPHS, "latency"], default=["layers", "ensemble"], help="default: layers ensemble")
    parser.add_argument("--n", type=int, help=f"size. What it counts, and its default: {sizes}; latency: round trips, {LATENCY_TRIPS}")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each after one to warm up; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the timings there")
    parser.add_argument("--hosts", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--runners", type=int, default=1, help="on each host; default: %(default)s")
    parser.add_argument("--peers", nargs="+", choices=list(openers()), help="beside serial Python; default: all")
    return parser.parse_args(argv)


def measured(graphs: Iterable[str], n: int | None, peers: Sequence[Peer], repeat: int) -> list[measure.Timing]:
    """Time each graph in turn."""
    timings = []
    for name in graphs:
        if name == "latency":
            timings += measure.time_latency(n or LATENCY_TRIPS, peers, repeat)
        else:
            size = n or GRAPHS[name].n
            timings += measure.time_graph(name, size, GRAPHS[name].make(size), peers, repeat)
    return timings


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit status."""
    options = parse(argv)
    os.environ.update(
        dict.fromkeys(ONE_BLAS_THREAD, "1")
    )  # for the runners that start below: threads inside tasks would blur the comparison
    wanted = ["serial", *(name for name in options.peers or openers() if name != "serial")]
    with ExitStack() as stack:
        peers = [stack.enter_context(openers()[name](options.hosts, options.runners)) for name in wanted]
        timings = measured(options.graph, options.n, peers, options.repeat)
    show(timings)
    if options.json:
        report.write_json(options.json, report.as_record(timings, options.hosts, options.runners))
    return 0


def show(timings: Sequence[measure.Timing]) -> None:
    """Print the tables that have rows."""
    console = Console()
    throughput = [timing for timing in timings if timing.graph != "latency"]
    latency = [timing for timing in timings if timing.graph == "latency"]
    if throughput:
        console.print(report.throughput_table(throughput))
    if latency:
        console.print(report.latency_table(latency))


if __name__ == "__main__":
    sys.exit(main())
