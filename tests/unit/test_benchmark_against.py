"""Two versions are compared in alternating pairs, and a difference counts only where the interval supports it."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import against, measure
from benchmarks.against import Comparison, median_interval, run_pairs
from benchmarks.graphs import Case
from benchmarks.process import PeerFailed

FLAT = Case("flat", (3,))
LATENCY = Case("latency", (3,))
OTHER = Path("/other")


class Version:
    """A cluster whose runs take as long as it is told; it notes in `order` who ran."""

    started = 0.1

    def __init__(self, name: str, seconds: float, order: list[str]) -> None:
        self.name, self.seconds, self.order = name, seconds, order

    def run(self, case: Case, timeout: float) -> dict[str, Any]:
        self.order.append(self.name)
        if self.seconds < 0:
            raise PeerFailed("out of memory", "the log")
        if case.graph == "latency":
            return {"walls": [self.seconds, self.seconds, 100.0], "cpu": {}, "values": [0, 1, 2]}
        return {"wall": self.seconds, "cpu": {}, "values": [0, 1, 2]}

    def peak(self) -> int | None:
        return None

    def close(self) -> None:
        self.order.append(f"{self.name} closed")


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(against, "SETTLE_SECONDS", 0.0)
    return []


def pairs(order: list[str], ours: float, theirs: float, case: Case = FLAT, count: int = 16) -> Comparison:
    def start(source: Path | None) -> Version:
        assert source in (None, OTHER)
        return Version("ours", ours, order) if source is None else Version("theirs", theirs, order)

    return run_pairs(case, [0, 1, 2], start, OTHER, count, timeout=1.0)


def test_the_order_alternates_and_clusters_are_started_anew(order: list[str]) -> None:
    assert pairs(order, 1.0, 1.0, count=5).ratios == [1.0] * 5
    warm_up = ["ours", "theirs"]
    a, b = ["theirs", "ours"], ["ours", "theirs"]
    theirs_first = [*warm_up, *a, *b, "ours closed", "theirs closed"]
    ours_first = [*warm_up, *a, *b, "theirs closed", "ours closed"]
    assert order == [*theirs_first, *ours_first, *warm_up, *a, "ours closed", "theirs closed"]


def test_twice_as_fast(order: list[str]) -> None:
    found = pairs(order, 1.0, 2.0)
    assert (found.ratio, found.interval, found.slower) == (2.0, (2.0, 2.0), False)


def test_a_supported_loss_is_said(order: list[str]) -> None:
    assert pairs(order, 1.1, 1.0).slower
    assert not pairs(order, 1.02, 1.0).slower, "within the floor"


def test_a_loss_that_the_interval_does_not_support_is_none() -> None:
    noisy = Comparison("flat", ours=[1.0, 1.0, 2.0] * 5, theirs=[0.9, 0.9, 2.5] * 5)
    assert noisy.ratio < against.FLOOR
    assert noisy.interval[1] > 1.0
    assert not noisy.slower


def test_round_trips_count_by_their_median(order: list[str]) -> None:
    assert pairs(order, 0.5, 1.0, LATENCY).ratio == 2.0


def test_a_failure_ends_the_comparison_and_is_told(order: list[str]) -> None:
    found = pairs(order, 1.0, -1.0)
    assert (found.ratios, found.failure, found.log) == ([], "out of memory", "the log")


def test_wrong_values_are_no_comparison(order: list[str]) -> None:
    with pytest.raises(measure.WrongResult):
        run_pairs(FLAT, [0, 1, 3], lambda _: Version("any", 1.0, order), OTHER, 15, timeout=1.0)


@pytest.mark.parametrize("n", [15, 30, 51])
def test_the_interval_holds_the_true_median_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(n)
    held = 0
    for _ in range(1000):
        low, high = median_interval(rng.lognormal(size=n).tolist())
        held += low <= 1.0 <= high
    assert held >= 930


def test_the_interval_of_few_values_is_all_of_them() -> None:
    assert median_interval([3.0, 1.0]) == (1.0, 3.0)
    assert median_interval([2.0]) == (2.0, 2.0)
    assert median([2.0]) == 2.0


def test_what_is_no_checkout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--against", str(tmp_path), "--graph", "flat"]) == 2
    assert "no services/headrace" in capsys.readouterr().err.replace("\n", " ")


def test_too_few_pairs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--against", ".", "--pairs", "3"])
    assert "say too little" in capsys.readouterr().err
