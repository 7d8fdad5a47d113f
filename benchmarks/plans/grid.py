"""All planners on many instances and clusters: `python -m benchmarks.plans.grid [--all]`, or `make bench-plans`.

The whole grid takes hours, most of them SAGA's. By default, a sample is drawn that ends in time. The sample is the start of a fixed order,
and how far it gets depends on the machine:

1. Headrace's planners and the reference, in rounds. In each round, every instance runs on one cluster, the smallest instance first, and
   every cluster has its turn; after as many rounds as there are clusters, each instance has been on each. Half of the time.
2. SAGA's HEFT on the cases that were reached, where hosts have one runner. Until two thirds of the time.
3. SAGA's other algorithms on these cases, shuffled by a fixed seed. The rest of the time.

`--all` does all of it. With `--continue`, lines that the file has already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plans import saga, summary
from benchmarks.plans.clusters import Cluster
from benchmarks.plans.headrace_planners import planners as headrace_planners
from benchmarks.plans.heft import NAME as REFERENCE
from benchmarks.plans.instances import Instance, UnreadableInstance, chosen, published
from benchmarks.plans.scoring import Line, Planner, line, reference_heft

CLUSTERS = tuple(Cluster(hosts, runners, bandwidth) for bandwidth in (1e7, 1e8, 1e9) for runners in (1, 4) for hosts in (2, 8, 32))
MINUTES = 13.0
"""Of the sample. With the start of SAGA and the last plan it stays below 15."""
OURS_SHARE, HEFT_SHARE = 1 / 2, 2 / 3
"""Of the time, when Headrace's planners and SAGA's HEFT have had their turn."""
STRIDE = 5
"""Clusters from one round to the next. It has no common factor with their number, so that rounds go through all of them and differ much."""

Case = tuple[Instance, Cluster]


@dataclass(frozen=True)
class Work:
    """A plan to be made and scored."""

    instance: Instance
    cluster: Cluster
    planner: str

    @property
    def key(self) -> tuple[str, int, int, float, str]:
        """What tells its line from others."""
        return self.instance.name, self.cluster.hosts, self.cluster.runners, self.cluster.bandwidth, self.planner


def rounds(instances: Sequence[Instance], clusters: Sequence[Cluster] = CLUSTERS) -> Iterator[Case]:
    """Yield all cases in rounds, in each of which an instance runs on one cluster."""
    for turn in range(len(clusters)):
        for index, instance in enumerate(instances):
            yield instance, clusters[(index + turn * STRIDE) % len(clusters)]


def shuffled(cases: Iterable[Case], algorithms: Sequence[str]) -> list[Work]:
    """Return algorithms on cases, in an order that is random but always the same."""
    work = [Work(*case, name) for case in cases for name in algorithms]
    random.Random(0).shuffle(work)
    return work


def _size(instance: Instance) -> int:
    return sum(1 + len(task.inputs) for task in instance.tasks)


class Grid:
    """Measures plans and appends their lines to a file.

    known: planners by name. out: the file. done: lines that are there already. clock: seconds, in tests another one than the machine's.
    """

    def __init__(
        self, known: dict[str, Planner], out: Path, done: Sequence[Line] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lines = list(done)
        self._known = known
        self._out = out
        self._clock = clock
        self._measured = {tuple(found[name] for name in ("instance", "hosts", "runners", "bandwidth", "planner")) for found in done}

    def measure(self, work: Iterable[Work], deadline: float) -> list[Work]:
        """Work until the deadline, and return what was reached."""
        reached = []
        with self._out.open("a") as out:
            for item in work:
                if self._clock() >= deadline:
                    break
                reached.append(item)
                if item.key in self._measured:
                    continue
                found = line(item.instance, item.cluster, item.planner, self._known[item.planner])
                self.lines.append(found)
                self._measured.add(item.key)
                out.write(json.dumps(found) + "\n")
                out.flush()
        return reached


def run(instances: Sequence[Instance], grid: Grid, ours: Sequence[str], theirs: Sequence[str], seconds: float, began: float) -> None:
    """Measure the whole grid, or what fits into so many seconds. began: the present time of the grid's clock."""
    own = (Work(*case, name) for case in rounds(sorted(instances, key=_size)) for name in ours)
    reached = list(dict.fromkeys((work.instance.name, work.cluster) for work in grid.measure(own, began + OURS_SHARE * seconds)))
    named = {instance.name: instance for instance in instances}
    cases = [(named[name], cluster) for name, cluster in reached if cluster.runners == 1]
    heft = saga.PREFIX + saga.HEFT
    if heft in theirs:
        grid.measure((Work(*case, heft) for case in cases), began + HEFT_SHARE * seconds)
    grid.measure(shuffled(cases, [name for name in theirs if name != heft]), began + seconds)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans.grid", description=__doc__.split("\n")[0])
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="Estee archives and WfFormat files; default: all of ../shared/data/graphs"
    )
    parser.add_argument("--all", action="store_true", help="measure the whole grid, which takes hours")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for the sample; default: %(default)s")
    parser.add_argument("--continue", dest="resume", action="store_true", help="keep the lines that the file has")
    parser.add_argument("--no-saga", action="store_true", help="leave SAGA's algorithms out")
    parser.add_argument(
        "--json", type=Path, default=Path("build/plans.jsonl"), metavar="FILE", help="a line for each plan; default: %(default)s"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables there")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables; returns the exit status."""
    options = parse(argv)
    try:
        instances = chosen(options.files or published())
    except UnreadableInstance as error:
        print(f"python -m benchmarks.plans.grid: {error}", file=sys.stderr)
        return 2
    tables = summary.markdown(_measured(instances, options))
    print(tables)
    if options.markdown:
        options.markdown.write_text(tables)
    return 0


def _measured(instances: Sequence[Instance], options: argparse.Namespace) -> list[Line]:
    """Measure what the options ask for, and return all lines."""
    done = kept(options.json) if options.resume else []
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text("".join(json.dumps(found) + "\n" for found in done))
    ours: dict[str, Planner] = {**headrace_planners(), REFERENCE: reference_heft}
    seconds = math.inf if options.all else 60 * options.minutes
    with ExitStack() as stack:
        theirs: dict[str, Planner] = {}
        if saga.installed() and not options.no_saga:
            theirs = saga.planners(stack.enter_context(saga.Saga()))
        else:
            print("without SAGA (extra `saga`)", file=sys.stderr)
        grid = Grid({**ours, **theirs}, options.json, done)
        run(instances, grid, list(ours), list(theirs), seconds, time.monotonic())
    return grid.lines


def kept(path: Path) -> list[Line]:
    """Return the lines of a file, without one that was cut off; none if there is no file."""
    found = []
    for text in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            found.append(json.loads(text))
    return found


if __name__ == "__main__":
    sys.exit(main())
