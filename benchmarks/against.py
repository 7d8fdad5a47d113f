"""Two versions of Headrace compared: this checkout and another run the same graphs in turn, in many pairs.

One median on a shared machine says little about a few per cent. Both clusters stand side by side, and the two runs of a pair follow each
other closely, in an order that alternates from pair to pair. Both clusters are started anew every two pairs, in an order that alternates
too. The result is the median of the pairs' ratios, with a confidence interval that assumes nothing about their distribution.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.graphs import Case
from benchmarks.measure import SETTLE_SECONDS, Patience, Runs, check, expected_values
from benchmarks.peers import Layout
from benchmarks.process import PeerFailed, PeerProcess

MIN_PAIRS = 16
PAIRS_PER_START = 2
"""Pairs after which both clusters are started anew. How fast a cluster is differs by 5 to 10 % from start to start, even for one version:
how its processes happen to lie in memory lasts as long as they do."""
CONFIDENCE = 0.95
FLOOR = 0.97
"""A median ratio below it is a regression, if its interval supports that this version is slower."""

Start = Callable[[Path | None], Runs]
"""Starts a cluster of the checkout at a path; of this one without."""


class NotACheckout(Exception):
    """The other version cannot be run; the message says why."""


@dataclass
class Comparison:
    """One graph on two versions. ours, theirs: seconds of each pair's runs (of round trips, their median). failure: why there are fewer."""

    label: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    failure: str = ""
    log: str = ""

    @property
    def ratios(self) -> list[float]:
        """Per pair: how many times as fast as the other version this one is."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios. Raises statistics.StatisticsError without pairs."""
        return median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """Within which the true median ratio lies, with `CONFIDENCE`."""
        return median_interval(self.ratios)

    @property
    def slower(self) -> bool:
        """Whether this version is slower than the other by more than `FLOOR` admits, and the interval supports that it is slower."""
        return bool(self.ratios) and self.ratio < FLOOR and self.interval[1] < 1.0

    def record(self) -> dict[str, Any]:
        """Everything, in plain types, for JSON."""
        measured = {"ratio": self.ratio, "interval": list(self.interval)} if self.ratios else {}
        return {"label": self.label, "ours": self.ours, "theirs": self.theirs, "failure": self.failure, **measured}


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The narrowest symmetric pair of order statistics between which the median of the distribution lies with at least this confidence.

    That holds for any continuous distribution: the number of values below its median is binomial (W. J. Conover, Practical Nonparametric
    Statistics, 3rd edition, section 3.2). With 5 values or fewer, no two of them reach 95 %: the ends are the least and the greatest.

    >>> median_interval([float(value) for value in range(1, 16)])
    (4.0, 12.0)
    """
    ordered, n = sorted(values), len(values)
    outside, rank = 2 * 0.5**n, 0
    while rank + 1 <= (n - 1) // 2 and outside + 2 * math.comb(n, rank + 1) * 0.5**n <= 1 - confidence:
        rank += 1
        outside += 2 * math.comb(n, rank) * 0.5**n
    return ordered[rank], ordered[n - 1 - rank]


def checked(checkout: Path) -> Path:
    """The root of a checkout of Headrace. Raises NotACheckout."""
    root = checkout.resolve()
    if not (root / "services" / "headrace" / "__init__.py").is_file():
        raise NotACheckout(
            f"{checkout} is not a checkout of Headrace: it has no services/headrace. To make one: git worktree add {checkout} COMMIT"
        )
    return root


def compare(case: Case, checkout: Path, layout: Layout, pairs: int, patience: Patience) -> Comparison:
    """Run one graph on both versions. Raises WrongResult; a version that fails otherwise ends the comparison, which says why."""

    def start(source: Path | None) -> PeerProcess:
        return PeerProcess("headrace", layout, source)

    return run_pairs(case, expected_values(case, patience), start, checkout, pairs, patience.timeout)


def run_pairs(case: Case, expected: list[Any], start: Start, checkout: Path, pairs: int, timeout: float) -> Comparison:
    """See `compare`."""
    found = Comparison(case.label)
    try:
        for begun in range(0, pairs, PAIRS_PER_START):
            with ExitStack() as stack:
                first, second = (None, checkout) if begun // PAIRS_PER_START % 2 else (checkout, None)
                clusters = {source: stack.enter_context(closing(start(source))) for source in (first, second)}
                ours, theirs = clusters[None], clusters[checkout]
                for peer in (ours, theirs):
                    peer.run(case.warm_up(), timeout)
                for pair in range(begun, min(begun + PAIRS_PER_START, pairs)):
                    order = [(found.ours, ours), (found.theirs, theirs)]
                    for walls, peer in order if pair % 2 else reversed(order):
                        walls.append(_wall(case, peer, expected, timeout))
    except PeerFailed as failed:
        found.failure, found.log = failed.reason, failed.log
        del found.ours[len(found.theirs) :], found.theirs[len(found.ours) :]
    return found


def _wall(case: Case, peer: Runs, expected: list[Any], timeout: float) -> float:
    time.sleep(SETTLE_SECONDS)
    measured = peer.run(case, timeout)
    check(case.label, "headrace", measured["values"], expected)
    return median(measured["walls"]) if "walls" in measured else float(measured["wall"])


def table(comparisons: Sequence[Comparison], checkout: Path) -> Table:
    """One line for each graph."""
    result = Table(title=f"This checkout against {checkout}, medians", title_justify="left")
    for column in ("graph", "pairs", "this, s", "other, s", "times as fast", f"{CONFIDENCE:.0%} interval", ""):
        result.add_column(column, justify="left" if column in ("graph", "") else "right")
    for found in comparisons:
        result.add_row(*_cells(found))
    return result


def _cells(found: Comparison) -> Iterator[str]:
    yield found.label
    yield str(len(found.ratios))
    if not found.ratios:
        yield from ("-", "-", "-", "-", found.failure)
        return
    low, high = found.interval
    yield f"{median(found.ours):.3g}"
    yield f"{median(found.theirs):.3g}"
    yield f"{found.ratio:.3f}"
    yield f"{low:.3f} to {high:.3f}"
    yield found.failure or ("slower" if found.slower else "")
