"""Score planners on published task graphs: `python -m benchmarks.plans FILE... [--hosts 8 --runners 1 --bandwidth 100MB/s]`.

Reads Estee archives and WfFormat files. Prints a JSON line for each instance and planner: {"instance", "planner", "hosts", "runners",
"bandwidth", "makespan", "lower_bound", "bytes_moved", "peak_memory", "planning_s"}. The checker executes each plan. Without --json, tables
follow on standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from benchmarks.plans import saga, summary
from benchmarks.plans.clusters import Cluster, parse_bandwidth
from benchmarks.plans.headrace_planners import planners as headrace_planners
from benchmarks.plans.heft import NAME as REFERENCE
from benchmarks.plans.instances import UnreadableInstance, chosen
from benchmarks.plans.scoring import Planner, line, reference_heft


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an Estee archive (.zip) or a WfFormat 1.5 file (.json)")
    parser.add_argument("--hosts", type=_positive, default=8, help="default: %(default)s")
    parser.add_argument("--runners", type=_positive, default=1, help="of each host; default: %(default)s")
    parser.add_argument("--bandwidth", type=parse_bandwidth, default="100MB/s", help="of each host, up and down; default: %(default)s")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each transfer; default: %(default)s")
    parser.add_argument("--instance", nargs="+", metavar="NAME", help="only these instances of the files")
    parser.add_argument("--planner", nargs="+", metavar="NAME", help="only these planners; default: all of Headrace, and the reference")
    parser.add_argument("--saga", action="store_true", help="also SAGA's algorithms (extra `saga`), on hosts of one runner")
    parser.add_argument("--json", action="store_true", help="only the JSON lines, no tables")
    parser.add_argument("--emit", type=Path, metavar="DIR", help="write each plan there, for `python -m benchmarks.plans.checker`")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Score what was asked for; returns the exit status: 1 if one of Headrace's planners made no valid plan, 2 for wrong arguments."""
    options = parse(argv)
    with ExitStack() as stack:
        try:
            instances = chosen(options.files, options.instance)
            known = known_planners(options, stack)
            names = named(options.planner, known)
        except (UnreadableInstance, UnknownPlanner) as error:
            print(f"python -m benchmarks.plans: {error}", file=sys.stderr)
            return 2
        cluster = Cluster(options.hosts, options.runners, options.bandwidth, options.latency)
        lines = []
        for instance, name in product(instances, names):
            lines.append(line(instance, cluster, name, known[name], options.emit))
            print(json.dumps(lines[-1]), flush=True)
    if not options.json:
        print(summary.markdown(lines), file=sys.stderr)
    return int(any("error" in found and not found["planner"].startswith(saga.PREFIX) for found in lines))


class UnknownPlanner(ValueError):
    """A planner that does not exist, or is not installed."""


def known_planners(options: argparse.Namespace, stack: ExitStack) -> dict[str, Planner]:
    """Return the planners by name. stack: ends SAGA's process. Raises UnknownPlanner if SAGA is wanted and missing."""
    known: dict[str, Planner] = {**headrace_planners(), REFERENCE: reference_heft}
    if options.saga:
        if not saga.installed():
            raise UnknownPlanner("SAGA is not installed. Install the extra `saga`, as `make bench-plans` does.")
        known |= saga.planners(stack.enter_context(saga.Saga()))
    return known


def named(names: Sequence[str] | None, known: Mapping[str, Planner]) -> list[str]:
    """Return the names, or all. Raises UnknownPlanner."""
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UnknownPlanner(f"no planner {', '.join(unknown)}: choose from {', '.join(known)}")
    return list(names or known)


if __name__ == "__main__":
    sys.exit(main())
