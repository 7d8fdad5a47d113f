"""Validate emitted plans and execute them under max-min fair links: `python -m benchmarks.plans.checker FILE...`.

Prints a JSON line for each file: {"file", "instance", "planner", "makespan", "predicted", "lower_bound", "bytes_moved", "peak_memory"}, or
{"file", "error"}. Seconds and bytes; `peak_memory` is that of the host that needs most. The exit status is 1 if a plan is invalid.
`emitted` has the format and the rules, `execution` the model. Nothing here imports Headrace.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.plans.emitted import EmittedPlan, InvalidPlan, parse, validate
from benchmarks.plans.execution import Execution, execute


def checked(record: Any) -> tuple[EmittedPlan, Execution]:
    """Return an emitted plan, read from its JSON value, and its execution. Raises InvalidPlan."""
    plan = parse(record)
    validate(plan)
    return plan, execute(plan)


def score(record: Any) -> dict[str, Any]:
    """Return what the checker finds out about an emitted plan. Raises InvalidPlan."""
    plan, execution = checked(record)
    return {
        "instance": plan.instance,
        "planner": plan.planner,
        "makespan": execution.makespan,
        "predicted": plan.makespan,
        "lower_bound": plan.lower_bound(),
        "bytes_moved": execution.bytes_moved,
        "peak_memory": max(execution.peak_memory),
    }


def line(path: Path) -> dict[str, Any]:
    """Return the score of a file, or what is wrong with it."""
    try:
        return {"file": str(path), **score(json.loads(path.read_bytes()))}
    except (OSError, ValueError) as error:  # InvalidPlan and what `json` raises are ValueErrors
        return {"file": str(path), "error": str(error)}


def main(argv: Sequence[str] | None = None) -> int:
    """Check the files; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans.checker", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a plan that `python -m benchmarks.plans --emit` wrote")
    lines = [line(path) for path in parser.parse_args(argv).files]
    for found in lines:
        print(json.dumps(found))
    return int(any("error" in found for found in lines))


__all__ = ["InvalidPlan", "checked", "main", "score"]

if __name__ == "__main__":
    sys.exit(main())
