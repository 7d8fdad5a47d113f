"""The table of docs/reliability.md, from the numbers of all seeds. Pure, except `write`."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.chaos.faults import KINDS, Kind
from tests.chaos.recovery import Recovery
from tests.chaos.results import Result

BEGIN, END = "<!-- table of python -m tests.chaos report -->", "<!-- end of the table -->"
COLUMNS = ("fault", "promise", "tries", "seeds", "correct jobs", "lost, wrong or duplicated", "other problems")
TIMES = ("standstill p50", "worst", "to the end p50", "worst")
HEAD = [f"| {' | '.join((*COLUMNS, *TIMES))} |", "|---" * (len(COLUMNS) + len(TIMES)) + "|"]
LOST_OR_DOUBLED = ("lost_or_wrong", "outputs_once", "sinks_whole")
"""Checks that find data that is wrong, lost or doubled. All others find jobs that failed or hang, and what was left behind."""


def table(results: Sequence[Result]) -> list[str]:
    """The lines of the table: one for each kind of fault that was done, and the sums."""
    kinds = [kind for kind in KINDS.values() if any(kind.name == done.kind for result in results for done in result.done)]
    return [*HEAD, *(_row(kind, results) for kind in kinds), _sums(results)]


def summary(results: Sequence[Result]) -> str:
    """What was run, in a sentence."""
    commits = list(dict.fromkeys(result.commit for result in results))
    last = sum(result.commit == commits[-1] for result in results) if commits else 0
    faults, jobs = sum(len(result.done) for result in results), sum(result.jobs for result in results)
    clean = sum(not result.problems for result in results)
    newest = f" {last} of them ran on the newest commit, {commits[-1]}." if commits else ""
    return (
        f"{len(results)} seeds ran, with {faults} faults during {jobs} jobs, on {len(commits)} commits; "
        f"in {clean} of them every check passed.{newest}"
    )


def _row(kind: Kind, results: Sequence[Result]) -> str:
    hit = [result for result in results if any(done.kind == kind.name for done in result.done)]
    tries = sum(done.kind == kind.name for result in hit for done in result.done)
    alone = [result for result in hit if {done.kind for done in result.done} == {kind.name}]
    times = [done.recovery for result in alone for done in result.done if done.recovery.end > 0]
    return f"| {kind.name} | {kind.promise} | {tries} | {_counts(hit)} | {_times(times)} |"


def _sums(results: Sequence[Result]) -> str:
    tries = sum(len(result.done) for result in results)
    times = [done.recovery for result in results for done in result.done if done.recovery.end > 0]
    return f"| all | | {tries} | {_counts(results)} | {_times(times)} |"


def _counts(results: Sequence[Result]) -> str:
    lost = sum(count for result in results for name, count in result.problems.items() if name in LOST_OR_DOUBLED)
    other = sum(count for result in results for name, count in result.problems.items() if name not in LOST_OR_DOUBLED)
    right, jobs = sum(result.right for result in results), sum(result.jobs for result in results)
    return f"{len(results)} | {right} of {jobs} | {lost} | {other}"


def _times(times: Sequence[Recovery]) -> str:
    return f"{_spread(found.standstill for found in times)} | {_spread(found.end for found in times)}"


def _spread(seconds: Iterable[float]) -> str:
    found = list(seconds)
    return f"{statistics.median(found):.1f} s | {max(found):.1f} s" if found else "| "


def written(text: str, results: Sequence[Result]) -> str:
    """A page with its table replaced. Raises ValueError if the page has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no table: add the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{summary(results)}\n\n" + "\n".join(table(results)) + f"\n{END}{after}"


def write(page: Path, results: Sequence[Result]) -> None:
    """Replace the table of a page."""
    page.write_text(written(page.read_text(), results))
