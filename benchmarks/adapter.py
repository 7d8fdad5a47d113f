"""The process that one peer runs in: it does what lines of JSON on its standard input say, and answers each with a line.

    {"graph": "flat", "arguments": [1000]}  ->  {"wall": 0.1, "cpu": {"client": 0.08, ...}, "values": [...]}
    {"graph": "latency", "arguments": [300]}  ->  {"walls": [0.0005, ...], "cpu": ..., "values": [...]}
    {"graph": "idle", "arguments": [5]}       ->  {"wall": 5.0, "cpu": ..., "values": []}: nothing is done for so many seconds
    anything that fails                     ->  {"error": "..."}

The first line it writes, {"started": seconds}, says that the peer stands ready; the end of its input ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from collections.abc import Sequence
from typing import Any, TextIO

from benchmarks.cpu import CpuClock
from benchmarks.graphs import Case, noop
from benchmarks.peers import PEERS, Layout, Peer

CALM_SECONDS = 1.0
"""After the last task: by then everything that follows from it has happened."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapter", description="Runs one peer of the benchmarks; they start it.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--runners", type=int, default=2)
    parser.add_argument("--memory", type=int, default=0, help="bytes for everything together; 0 for any")
    parser.add_argument("--cpu-file", default="", help="a control group's count of CPU time")
    return parser.parse_args(argv)


def timed_run(peer: Peer, case: Case, cpu_file: str) -> dict[str, Any]:
    """One run of a graph. Making the list of calls does not count."""
    graph = case.build()
    cpu = CpuClock(peer.roles, cpu_file)
    start = time.perf_counter()
    values = peer.run(graph)
    wall = time.perf_counter() - start
    return {"wall": wall, "cpu": cpu.seconds(), "values": values}


def timed_trips(peer: Peer, trips: int, cpu_file: str) -> dict[str, Any]:
    """Round trips of single tasks, one after another."""
    cpu = CpuClock(peer.roles, cpu_file)
    walls, values = [], []
    for value in range(trips):
        start = time.perf_counter()
        values.append(peer.round_trip(noop, value))
        walls.append(time.perf_counter() - start)
    return {"walls": walls, "cpu": cpu.seconds(), "values": values}


def timed_idleness(peer: Peer, seconds: int, cpu_file: str) -> dict[str, Any]:
    """What a peer takes for doing nothing, after a little work and some time to calm down."""
    peer.round_trip(noop, 0)
    time.sleep(CALM_SECONDS)
    cpu = CpuClock(peer.roles, cpu_file)
    start = time.perf_counter()
    time.sleep(seconds)
    return {"wall": time.perf_counter() - start, "cpu": cpu.seconds(), "values": []}


OTHERS = {"latency": timed_trips, "idle": timed_idleness}
"""What is no graph."""


def answer(peer: Peer, order: dict[str, Any], cpu_file: str) -> dict[str, Any]:
    """What one line asks for."""
    case = Case(order["graph"], tuple(order["arguments"]))
    try:
        if case.graph in OTHERS:
            return OTHERS[case.graph](peer, case.n, cpu_file)
        return timed_run(peer, case, cpu_file)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def serve(options: argparse.Namespace, orders: TextIO, answers: TextIO) -> None:
    """Start the peer, and do what is asked until the input ends."""
    opener = PEERS[options.peer].opener()
    start = time.perf_counter()
    with opener(Layout(options.hosts, options.runners, options.memory)) as peer:
        print(json.dumps({"started": time.perf_counter() - start}), file=answers, flush=True)
        for line in orders:
            print(json.dumps(answer(peer, json.loads(line), options.cpu_file)), file=answers, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. What peers print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    orders = os.fdopen(os.dup(0), "r")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    serve(parse(argv), orders, answers)


if __name__ == "__main__":
    main()
