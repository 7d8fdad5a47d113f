"""All planners: what each plan promises, that it can be repeated, and that the portfolio is as good as its best member."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.scheduler.planners.annealing import anneal
from headrace.scheduler.planners.bounds import critical_path, lower_bound, total_work
from headrace.scheduler.planners.plan import Plan
from headrace.scheduler.planners.portfolio import portfolio
from headrace.scheduler.planners.problem import Host, Problem
from headrace.scheduler.planners.registry import PLANNERS
from headrace.scheduler.planners.score import score
from headrace.scheduler.planners.simulate import simulate
from tests.planner_problems import check_plan, make_problem, problems

QUICK = 4000
"""Tasks and edges that annealing simulates in tests."""
MEMBERS = sorted(set(PLANNERS) - {"portfolio"})


def columns(plan: Plan) -> list[list[float]]:
    rows = plan.placement
    return [column.tolist() for column in (rows.task, rows.host, rows.order, plan.start, plan.end, plan.received, plan.peak_memory)]


@pytest.mark.parametrize("name", MEMBERS)
@given(problem=problems())
@settings(max_examples=40, deadline=None)
def test_every_plan_keeps_its_promises_and_can_be_repeated(name: str, problem: Problem) -> None:
    before = copy.deepcopy(problem)
    plan = PLANNERS[name](problem)
    check_plan(problem, plan)
    assert plan.makespan >= lower_bound(problem) - 1e-9
    assert columns(PLANNERS[name](problem)) == columns(plan)
    assert columns(simulate(problem, plan.placement, name)) == columns(plan)
    for column in ("seconds", "nbytes", "memory", "kind", "done", "held_dataset", "held_host"):
        assert np.array_equal(getattr(problem, column), getattr(before, column))


@given(problem=problems(10))
@settings(max_examples=20, deadline=None)
def test_the_portfolio_is_as_good_as_its_best_member(problem: Problem) -> None:
    plan = portfolio(problem, QUICK)
    check_plan(problem, plan)
    assert score(plan) <= min(score(PLANNERS[name](problem)) for name in MEMBERS)
    assert columns(portfolio(problem, QUICK)) == columns(plan)


@given(problem=problems(10), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_annealing_makes_no_plan_worse(problem: Problem, seed: int) -> None:
    start = PLANNERS["depth_first"](problem)
    plan = anneal(problem, start, 100, seed)
    check_plan(problem, plan)
    assert score(plan) <= score(start)
    assert columns(anneal(problem, start, 100, seed)) == columns(plan)


def test_heft_inserts_into_gaps() -> None:
    # The long path keeps host 0; the short task fits into the gap before the transfer to host 1 is over.
    problem = make_problem([[], [0], [], [1, 2]], 1, seconds=[4.0, 4.0, 1.0, 1.0], runners=2)
    assert PLANNERS["heft"](problem).makespan == 9.0


def test_cpop_keeps_the_critical_path_on_the_fastest_host() -> None:
    hosts = [Host("slow", bandwidth=100.0), Host("fast", speed=2.0, bandwidth=100.0)]
    plan = PLANNERS["cpop"](make_problem([[], [0], [], [1, 2]], hosts, seconds=[4.0, 4.0, 1.0, 1.0]))
    assert plan.host[[0, 1, 3]].tolist() == [1, 1, 1]


def test_work_that_is_cheaper_than_its_data_is_recomputed() -> None:
    # One short source feeds two long consumers over a slow link.
    problem = make_problem([[], [0], [0]], 2, seconds=[1.0, 20.0, 20.0], bandwidth=1.0)
    for name in ("cheaper", "recompute"):
        plan = PLANNERS[name](problem)
        assert (plan.makespan, plan.n_copies, plan.bytes_moved) == (21.0, 1, 0.0)
    assert PLANNERS["broadcast"](problem).makespan == 121.0


def test_depth_first_holds_few_datasets() -> None:
    # 20 chains of two, of which each makes a small output from a large dataset.
    rows: list[list[int]] = [[] for _ in range(20)] + [[i] for i in range(20)]
    problem = make_problem(rows, 1, nbytes=[100.0] * 20 + [1.0] * 20)
    assert PLANNERS["depth_first"](problem).peak_memory.tolist() == [120.0]
    assert PLANNERS["heft"](problem).peak_memory.tolist() == [2001.0]


def test_a_plan_that_fits_the_memory_beats_a_shorter_one() -> None:
    rows: list[list[int]] = [[] for _ in range(20)] + [[i] for i in range(20)]
    hosts = [Host("a", memory=150.0, bandwidth=100.0)]
    problem = make_problem(rows, hosts, nbytes=[100.0] * 20 + [1.0] * 20)
    assert not PLANNERS["heft"](problem).fits
    assert portfolio(problem, 0).fits


def test_annealing_finds_the_balance() -> None:
    # Longest first is optimal here; the walk in order of ids is not.
    problem = make_problem([[] for _ in range(8)], 2, seconds=[1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0])
    start = PLANNERS["depth_first"](problem)
    assert anneal(problem, start, 400).makespan == 8.0


def test_bounds() -> None:
    hosts = [Host("a", runners=2), Host("b", speed=2.0)]
    problem = make_problem([[], [0], []], hosts, seconds=[2.0, 4.0, 6.0])
    assert (critical_path(problem), total_work(problem), lower_bound(problem)) == (3.0, 3.0, 3.0)
    assert critical_path(make_problem([[], [0], []], hosts, seconds=[2.0, 4.0, 7.0])) == 3.5
