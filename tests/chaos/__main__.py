"""Run seeds of chaos: `python -m tests.chaos --seeds 1-20 --faults kill-worker`; `python -m tests.chaos report` writes the table."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from headrace.worker.threads import set_variables
from tests.chaos.faults import KINDS

FOLDER = Path("build/chaos").resolve()


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
    parser.add_argument("--keep", action="store_true", help="keep the folders of seeds that went well too")
    options = parser.parse_args(argv)
    options.faults = [name for name in options.faults.split(",") if name]
    if unknown := [name for name in options.faults if name not in KINDS]:
        parser.error(f"--faults {', '.join(unknown)}: not among {', '.join(KINDS)}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the seeds. Returns 1 if something was wrong."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    set_variables(2)  # before numpy is imported
    _import_services()
    from tests.chaos.driver import Driver
    from tests.chaos.plan import draw_plan

    end = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    failed = 0
    for seed in options.seeds:
        if time.monotonic() > end:
            break
        plan = draw_plan(seed, options.faults)
        report = Driver(plan, folder_of(seed)).run()
        failed += bool(report.problems)
        if not (report.problems or options.keep):
            shutil.rmtree(folder_of(seed), ignore_errors=True)
        say(report, options.faults)
    return 1 if failed else 0


def folder_of(seed: int) -> Path:
    """Where a seed runs and leaves its logs. Two runs on one machine have folders of their own."""
    return FOLDER / f"{os.getpid()}-seed-{seed}"


def say(report, faults: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Print what became of a seed."""
    what = ", ".join(f"{fault.kind} {fault.target} at {fault.at:.1f} s for {fault.seconds:.1f} s" for fault in report.plan.faults)
    times = "; ".join(f"standstill {found.standstill:.1f} s, end {found.end:.1f} s" for _, found in report.recoveries)
    print(f"seed {report.plan.seed}: {'WRONG' if report.problems else 'right'} in {report.seconds:.1f} s: {what}: {times}", flush=True)
    for problem in report.problems:
        print(f"    {problem[:600]}")
    if report.problems:
        folder = folder_of(report.plan.seed)
        print(f"    again: python -m tests.chaos --seeds {report.plan.seed} --faults {','.join(faults)}; logs: {folder}/logs", flush=True)


def _import_services() -> None:
    """Import what the forked processes need."""
    from headrace.client.services import import_all

    import_all()
    for module in ("headrace.cli.app", "headrace.client.cluster", "tests.chaos.tasks"):
        importlib.import_module(module)


if __name__ == "__main__":
    sys.exit(main())
