"""Run published task graphs for real on 4 local hosts of one runner, beside Dask: `python -m benchmarks.live [--instance NAME...]`.

The tasks sleep and allocate. An instance is scaled to 16 s of work and 64 MB of outputs in all. Each engine gets a new cluster for each
instance. Headrace runs an instance several times in a row: the first time it knows nothing, later it knows what it measured. The ratios
are to the makespan of HEFT with the true costs on links of 1 GB/s, executed by the checker of `benchmarks.plans`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.live.engines import ENGINES, dask_installed
from benchmarks.live.report import Measured, markdown
from benchmarks.live.scaling import TOTAL_BYTES, WORK_SECONDS, scaled
from benchmarks.plans.checker import score
from benchmarks.plans.clusters import Cluster
from benchmarks.plans.heft import heft
from benchmarks.plans.instances import Instance, UnreadableInstance, chosen, published
from benchmarks.plans.records import emitted

BANDWIDTH = 1e9
"""Bytes per second between local hosts, for HEFT."""
HOSTS = 4


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="as for `benchmarks.plans`; default: ../shared/data/graphs")
    parser.add_argument("--instance", nargs="+", metavar="NAME", help="only these instances of the files")
    parser.add_argument("--hosts", type=int, default=HOSTS, help="of one runner each; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=WORK_SECONDS, help="seconds of all tasks together; default: %(default)s")
    parser.add_argument("--bytes", type=int, default=TOTAL_BYTES, help="of all outputs together; default: %(default)s")
    parser.add_argument("--runs", type=int, default=2, help="of Headrace, in a row; default: %(default)s")
    parser.add_argument("--dask-runs", type=int, default=3, help="of Dask; 0 leaves it out; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write a line for each instance there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table there")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    options = parse(argv)
    try:
        instances = chosen(options.files or published(), options.instance)
    except UnreadableInstance as error:
        print(f"python -m benchmarks.live: {error}", file=sys.stderr)
        return 2
    if options.dask_runs and not dask_installed():
        print("without Dask (extra `peers`)", file=sys.stderr)
        options.dask_runs = 0
    found = []
    for instance in instances:
        found.append(measured(scaled(instance, options.seconds, options.bytes), options))
        print(json.dumps(found[-1].record()), file=sys.stderr, flush=True)
        if options.json:
            options.json.write_text("".join(json.dumps(line.record()) + "\n" for line in found))
    print(markdown(found))
    if options.markdown:
        options.markdown.write_text(markdown(found) + "\n")
    return 0


def measured(instance: Instance, options: argparse.Namespace) -> Measured:
    """Run a scaled instance on all engines."""
    return Measured(
        instance.name,
        predicted(instance, options.hosts),
        runs("headrace", instance, options.hosts, options.runs),
        runs("dask", instance, options.hosts, options.dask_runs) if options.dask_runs else (),
    )


def predicted(instance: Instance, hosts: int) -> float:
    """Return the makespan of HEFT with true costs on links of 1 GB/s."""
    cluster = Cluster(hosts, 1, BANDWIDTH)
    return float(score(emitted(instance, cluster, "heft", heft(instance, cluster)))["makespan"])


def runs(engine: str, instance: Instance, hosts: int, count: int) -> tuple[float, ...]:
    """Run an instance several times in a row on a new cluster of an engine."""
    with ENGINES[engine](hosts) as run:
        return tuple(run(instance) for _ in range(count))


if __name__ == "__main__":
    sys.exit(main())
