"""Run seeds of chaos: `python -m tests.chaos --seeds 1-20 --faults kill-worker`; `python -m tests.chaos report` writes the table."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.worker.threads import set_variables
from tests.chaos.faults import KINDS

if TYPE_CHECKING:  # imported at run time after the variables of numerical libraries are set
    from tests.chaos.driver import Report
    from tests.chaos.results import Result

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "chaos"
RESULTS = FOLDER / "results.jsonl"


def seeds_in(text: str) -> list[int]:
    """The numbers in a list such as 1-20,31.

    >>> seeds_in("1-3,7")
    [1, 2, 3, 7]
    """
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", default="1-10", type=seeds_in, help="like 1-20,31; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no seed after this time; default: run all")
    parser.add_argument("--faults", default=",".join(KINDS), help=f"kinds to draw from, of {', '.join(KINDS)}; default: all")
    parser.add_argument("command", nargs="?", choices=["run", "report"], default="run", help="default: %(default)s")
    parser.add_argument("--results", type=Path, nargs="*", default=[RESULTS], help="files that seeds add to and the report reads")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reliability.md", help="whose table is written")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="let each seed last that long, with a fault every 3 s")
    parser.add_argument("--keep", action="store_true", help="keep the folders of seeds that went well too")
    options = parser.parse_args(argv)
    options.faults = [name for name in options.faults.split(",") if name]
    if unknown := [name for name in options.faults if name not in KINDS]:
        parser.error(f"--faults {', '.join(unknown)}: not among {', '.join(KINDS)}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the seeds, or write the table. Returns 1 if something was wrong."""
    options = parse(argv)
    if options.command == "report":
        from tests.chaos import report, results

        report.write(options.page, results.load(options.results))
        return 0
    return run(options)


def run(options: argparse.Namespace) -> int:
    """Run the seeds. Returns 1 if something was wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    set_variables(2)  # before numpy is imported
    _import_services()
    from tests.chaos import filling
    from tests.chaos.driver import Driver
    from tests.chaos.plan import draw_plan, draw_soak
    from tests.chaos.results import add

    end = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    commit, failed = commit_of(ROOT), 0
    if not filling.prepare() or options.soak:
        options.faults = unlimited(options.faults)
    for seed in options.seeds:
        if time.monotonic() > end:
            break
        plan = draw_soak(seed, options.faults, options.soak * 60) if options.soak else draw_plan(seed, options.faults)
        report = Driver(plan, folder_of(seed)).run()
        failed += bool(report.problems)
        say(report, options.faults)
        for path in options.results:
            add(path, result_of(report, options.faults, commit))
        if not (report.problems or options.keep):
            shutil.rmtree(folder_of(seed), ignore_errors=True)
    return 1 if failed else 0


def unlimited(faults: list[str]) -> list[str]:
    """The kinds of faults that need no disks and control groups of the harness's own. Says which are left out."""
    if left_out := [name for name in faults if KINDS[name].limits]:
        print(
            f"left out, since they take root, mounts and control groups of memory, and a soak has none: {', '.join(left_out)}",
            file=sys.stderr,
        )
    return [name for name in faults if name not in left_out]


def result_of(report: Report, faults: list[str], commit: str) -> Result:
    """The numbers of a seed."""
    from tests.chaos.client import RIGHT
    from tests.chaos.results import Result

    return Result(
        commit=commit,
        seed=report.plan.seed,
        faults=faults,
        done=report.done,
        jobs=len(report.outcome.jobs),
        right=sum(job.verdict == RIGHT for job in report.outcome.jobs),
        problems={name: len(found) for name, found in report.problems.items()},
        seconds=report.seconds,
    )


def commit_of(checkout: Path) -> str:
    """The commit that is checked out; "unknown" where that cannot be told."""
    found = subprocess.run(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def folder_of(seed: int) -> Path:
    """Where a seed runs and leaves its logs. Two runs on one machine have folders of their own."""
    return FOLDER / f"{os.getpid()}-seed-{seed}"


def say(report: Report, faults: list[str]) -> None:
    """Print what became of a seed."""
    what = ", ".join(f"{fault.kind} {fault.target} at {fault.at:.1f} s for {fault.seconds:.1f} s" for fault in report.plan.faults)
    if report.plan.soak:
        what = f"{len(report.done)} faults under {len(report.outcome.jobs)} jobs"
    times = "; ".join(
        f"standstill {found.standstill:.1f} s, end {found.end:.1f} s" for found in (done.recovery for done in report.done[:3])
    )
    print(f"seed {report.plan.seed}: {'WRONG' if report.problems else 'right'} in {report.seconds:.1f} s: {what}: {times}", flush=True)
    for problem in (problem for found in report.problems.values() for problem in found):
        print(f"    {problem[:600]}")
    if report.problems:
        folder = folder_of(report.plan.seed)
        chosen = "" if faults == list(KINDS) else f" --faults {','.join(faults)}"
        print(f"    again: python -m tests.chaos --seeds {report.plan.seed}{chosen}; logs: {folder}/logs", flush=True)


def _import_services() -> None:
    """Import what the forked processes need."""
    from headrace.client.services import import_all

    import_all()
    for module in ("headrace.cli.app", "headrace.client.cluster", "tests.chaos.tasks"):
        importlib.import_module(module)


if __name__ == "__main__":
    sys.exit(main())
