"""The tables of many plans: ratios, the share of a gap, and where the portfolio loses."""

from __future__ import annotations

import pytest

from benchmarks.plans.clusters import Cluster, parse_bandwidth
from benchmarks.plans.scoring import Line
from benchmarks.plans.summary import beaten, cases, closed_share, far_from_bound, gap_rows, markdown, planner_row, planners, without_plan

SAGA = "saga:HeftScheduler"


def plan(planner: str, makespan: float, instance: str = "i", runners: int = 1, bound: float = 10.0) -> Line:
    head: Line = {"instance": instance, "planner": planner, "hosts": 8, "runners": runners, "bandwidth": 1e8}
    return head | {"makespan": makespan, "lower_bound": bound, "bytes_moved": 0.0, "peak_memory": 0.0, "planning_s": 0.5}


def failed(planner: str, error: str, instance: str = "i") -> Line:
    return {"instance": instance, "planner": planner, "hosts": 8, "runners": 1, "bandwidth": 1e8, "error": error}


def test_heft_is_that_of_saga_where_it_made_a_plan() -> None:
    (one, four) = cases([plan(SAGA, 20), plan("reference-heft", 15), plan("reference-heft", 15, runners=4)])
    assert (one.heft, one.ratio(SAGA)) == (SAGA, 2.0)
    assert four.heft == "reference-heft"
    assert one.label == "i on 8x1-100MB"


def test_an_instance_without_work_has_no_ratio() -> None:
    assert cases([plan("portfolio", 0.0, bound=0.0), failed("portfolio", "over 20 s")]) == []


def test_planners_come_with_the_portfolio_first_and_saga_last() -> None:
    lines = [failed(name, "") for name in (SAGA, "reference-heft", "fast", "portfolio", "critical-path")]
    assert planners(lines) == ["portfolio", "critical-path", "fast", "reference-heft", SAGA]


def test_the_row_of_a_planner() -> None:
    lines = [plan("fast", 20), plan("portfolio", 10), plan("fast", 45, "j"), failed("fast", "over 20 s", "k")]
    row = planner_row("fast", cases(lines), lines)
    assert row == ["fast", "2", "1", "3.000", "4.500", "j on 8x1-100MB", "2.000", "0.500", "0.500"]
    assert planner_row("none", cases(lines), lines)[:3] == ["none", "0", "0"]


@pytest.mark.parametrize(("heft", "portfolio", "share"), [(1.5, 1.25, 0.5), (1.2, 1.2, 0.0), (2.0, 1.0, 1.0)])
def test_the_share_of_the_gap(heft: float, portfolio: float, share: float) -> None:
    assert closed_share(heft, portfolio) == pytest.approx(share)


def test_the_gap_by_cluster() -> None:
    lines = [plan("reference-heft", 40), plan("portfolio", 20), plan("reference-heft", 10, runners=4), plan("portfolio", 10, runners=4)]
    assert gap_rows(cases(lines)) == [
        ["8x1-100MB", "1", "4.000", "2.000", "67%"],
        ["8x4-100MB", "1", "1.000", "1.000", "no gap"],
        ["all", "2", "2.000", "1.414", "59%"],
    ]
    assert gap_rows([]) == []


def test_where_heft_is_far_from_the_bound() -> None:
    lines = [
        plan(SAGA, 20),
        plan("portfolio", 17),
        plan(SAGA, 20, "j"),
        plan("portfolio", 18, "j"),
        plan(SAGA, 13, "k"),
        plan("portfolio", 13, "k"),
    ]
    assert far_from_bound(cases(lines)) == (
        "HEFT is above 1.33 x the bound in 2 cases. There the portfolio's makespan is 0.875 x HEFT's in the mean and 0.900 x at worst "
        "(j on 8x1-100MB); it is at least 15% better in 1 of them."
    )
    assert far_from_bound(cases(lines[4:])) == "HEFT is nowhere above 1.33 x the bound."


def test_a_better_plan_than_the_portfolios_is_named() -> None:
    lines = [plan("portfolio", 20), plan("fast", 15), plan(SAGA, 12), plan("portfolio", 10, "j"), plan("fast", 10 * (1 - 1e-9), "j")]
    assert beaten(cases(lines)).splitlines() == [
        "Another planner's plan is better than the portfolio's in 1 of 2 cases:",
        "",
        "- i on 8x1-100MB: saga:HeftScheduler, 1.2000 instead of 2.0000",
    ]
    assert beaten(cases(lines[3:])) == "No plan is better than the portfolio's. Cases: 1."


def test_planners_without_a_plan_are_listed_by_reason() -> None:
    lines = [failed(SAGA, "over 20 s"), failed(SAGA, "over 20 s", "j"), failed("saga:X", "KeyError: '3'"), plan("portfolio", 10)]
    assert without_plan(lines).splitlines()[2:] == [
        "| planner | reason | cases | such as |",
        "| --- | --- | --- | --- |",
        "| saga:HeftScheduler | over 20 s | 2 | i on 8x1-100MB, j on 8x1-100MB |",
        "| saga:X | KeyError | 1 | i on 8x1-100MB |",
    ]


def test_all_tables_together() -> None:
    text = markdown([plan("portfolio", 10), plan("reference-heft", 20), failed(SAGA, "over 20 s")])
    assert "| portfolio | 1.000 (1.00) |" in text
    assert "| all | 1 | 2.000 | 1.000 | 100% |" in text
    assert "No plan is better" in text
    assert markdown([]) != ""


@pytest.mark.parametrize(("text", "bandwidth"), [("100MB/s", 1e8), ("1 GB/s", 1e9), ("10Gbit", 1.25e9), ("8 Mbit/s", 1e6), ("5000", 5e3)])
def test_bandwidths_are_parsed(text: str, bandwidth: float) -> None:
    assert parse_bandwidth(text) == bandwidth


def test_clusters_have_short_names() -> None:
    assert Cluster(32, 4, 1e7).label == "32x4-10MB"
