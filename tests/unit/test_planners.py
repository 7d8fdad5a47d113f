"""All planners: what each plan promises, that it can be repeated, and that the portfolio is as good as its best member."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.scheduler.planners.annealing import anneal, without_idle_copies
from headrace.scheduler.planners.bounds import critical_path, heads_and_tails, lower_bound, reception, tight_bound, total_work
from headrace.scheduler.planners.listing import upward_ranks
from headrace.scheduler.planners.plan import Placement, Plan
from headrace.scheduler.planners.portfolio import portfolio
from headrace.scheduler.planners.problem import Host, Problem
from headrace.scheduler.planners.registry import PLANNERS
from headrace.scheduler.planners.score import score
from headrace.scheduler.planners.sequences import by_priority, placed_by_list
from headrace.scheduler.planners.simulate import simulate
from headrace.scheduler.planners.table import table_of
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
    assert plan.makespan >= tight_bound(problem) - 1e-9
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
    # Task 2 waits for the output of task 1 from second 5 to second 9; task 3, which only host 0 can run, is placed into this gap.
    hosts = [Host("a", bandwidth=100.0, resources={"gpu": 1.0}), Host("b", bandwidth=100.0)]
    kinds = {"kind": np.array([0, 0, 0, 1], dtype=np.int32), "needs": ({}, {"gpu": 1.0})}
    plan = PLANNERS["heft"](make_problem([[], [], [0, 1], []], hosts, seconds=[5.0, 5.0, 4.0, 3.0], nbytes=400.0, **kinds))
    assert plan.host.tolist() == [0, 1, 0, 0]
    assert plan.start.tolist() == [0.0, 0.0, 9.0, 5.0]
    assert plan.placement.order.tolist() == [0, 1, 3, 2]


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


def test_list_scheduling_recomputes_what_is_slow_to_send() -> None:
    # Host 1 makes both sources again, one after the other, before its task; each before the task that takes it.
    problem = make_problem([[], [], [0, 1], [0, 1]], 2, seconds=[1.0, 1.0, 20.0, 20.0], bandwidth=1.0)
    table = table_of(problem)
    placement = placed_by_list(problem, table, by_priority(problem, upward_ranks(table, 0.0)), serial=True, patience=1.0)
    plan = simulate(problem, placement, "list")
    check_plan(problem, plan)
    assert (plan.makespan, plan.bytes_moved, plan.n_copies) == (22.0, 0.0, 2)


def test_copies_that_no_task_on_their_host_needs_are_left_out() -> None:
    problem = make_problem([[], [0], [1]], 2)
    # Host 1 makes task 1 again for nobody, and task 0 for that.
    placement = Placement.of([0, 0, 0], [0, 1, 2], [(0, 1, 3), (1, 1, 4)])
    assert len(without_idle_copies(problem, placement).task) == 3
    needed = Placement.of([0, 0, 1], [0, 1, 2], [(0, 1, 3), (1, 1, 4)])
    assert without_idle_copies(problem, needed) is needed


def test_bounds_of_narrow_graphs_and_of_large_inputs() -> None:
    # One task, then four, then one: two runners need two seconds for those in the middle.
    narrow = make_problem([[], [0], [0], [0], [0], [1, 2, 3, 4]], 2)
    assert (lower_bound(narrow), heads_and_tails(narrow)) == (3.0, 4.0)
    # In each second the last task's host makes one of four inputs and receives another one.
    wide = make_problem([[], [], [], [], [0, 1, 2, 3]], 4)
    assert (lower_bound(wide), reception(wide), tight_bound(wide)) == (2.0, 3.0, 3.0)


def test_bounds() -> None:
    hosts = [Host("a", runners=2), Host("b", speed=2.0)]
    problem = make_problem([[], [0], []], hosts, seconds=[2.0, 4.0, 6.0])
    assert (critical_path(problem), total_work(problem), lower_bound(problem)) == (3.0, 3.0, 3.0)
    assert critical_path(make_problem([[], [0], []], hosts, seconds=[2.0, 4.0, 7.0])) == 3.5
