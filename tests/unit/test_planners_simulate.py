"""The simulator: hand-solved cases exactly, and what holds for every placement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.scheduler.planners.plan import Placement, Plan
from headrace.scheduler.planners.problem import Host, Problem
from headrace.scheduler.planners.simulate import simulate
from tests.planner_problems import check_plan, make_problem, placements, problems


def run(problem: Problem, host: list[int], order: list[int] | None = None, copies: tuple[tuple[int, int, int], ...] = ()) -> Plan:
    return simulate(problem, Placement.of(host, order or list(range(len(host))), copies), "hand")


def times(plan: Plan) -> list[tuple[float, float]]:
    return list(zip(plan.start.tolist(), plan.end.tolist(), strict=True))


def test_a_transfer_takes_latency_and_bytes_by_bandwidth() -> None:
    plan = run(make_problem([[], [0]], bandwidth=50.0, latency=0.5), [0, 1])
    assert times(plan) == [(0.0, 1.0), (3.5, 4.5)]
    assert (plan.makespan, plan.received.tolist(), plan.bytes_moved) == (4.5, [0.0, 100.0], 100.0)


def test_what_stays_on_its_host_is_not_transferred() -> None:
    plan = run(make_problem([[], [0]], latency=0.5), [0, 0])
    assert times(plan) == [(0.0, 1.0), (1.0, 2.0)]
    assert plan.bytes_moved == 0.0


def test_flows_share_a_link_and_what_one_leaves_the_others_take() -> None:
    # Host 0 sends 50 bytes to host 1 and 100 to host 2 at 100 bytes a second: half each for a second, then all for the second one.
    plan = run(make_problem([[], [0], [1]], 3, nbytes=[50.0, 100.0, 1.0, 1.0], n_outputs=[2, 1, 1]), [0, 1, 2])
    assert times(plan) == [(0.0, 1.0), (2.0, 3.0), (2.5, 3.5)]


def test_a_flow_through_a_full_link_leaves_its_share_of_the_other_to_others() -> None:
    # Three flows into host 3 get a third each; the flow from host 0 to host 4 gets two thirds of host 0's link.
    rows: list[list[int]] = [[], [], [], [0, 2, 3], [1]]
    plan = run(make_problem(rows, 5, nbytes=[100.0] * 6, n_outputs=[2, 1, 1, 1, 1]), [0, 1, 2, 3, 4])
    assert plan.start.tolist() == pytest.approx([0.0, 0.0, 0.0, 4.0, 2.5], abs=1e-12)


def test_a_flow_that_begins_when_another_ends_takes_its_full_time() -> None:
    plan = run(make_problem([[], [], [0], [1]], 4, seconds=[1.0, 2.0, 1.0, 1.0]), [0, 1, 2, 3])
    assert plan.start.tolist() == [0.0, 0.0, 2.0, 3.0]


def test_a_dataset_is_sent_once_to_each_host_that_takes_it() -> None:
    plan = run(make_problem([[], [0], [0], [0]], 2), [0, 1, 1, 0])
    assert times(plan) == [(0.0, 1.0), (2.0, 3.0), (3.0, 4.0), (1.0, 2.0)]
    assert plan.received.tolist() == [0.0, 100.0]


def test_the_slower_link_limits_a_flow() -> None:
    hosts = [Host("fast", bandwidth=1000.0), Host("slow", bandwidth=25.0)]
    assert run(make_problem([[], [0]], hosts), [0, 1]).start.tolist() == [0.0, 5.0]


def test_links_without_a_limit_carry_data_at_once() -> None:
    assert times(run(make_problem([[], [0]], [Host("a"), Host("b")]), [0, 1])) == [(0.0, 1.0), (1.0, 2.0)]
    half = [Host("a"), Host("b", bandwidth=100.0)]
    assert times(run(make_problem([[], [0]], half), [0, 1])) == [(0.0, 1.0), (2.0, 3.0)]


def test_runners_start_what_is_ready_in_order() -> None:
    plan = run(make_problem([[], [], [], [2]], 1, runners=2, seconds=[3.0, 1.0, 1.0, 1.0]), [0] * 4, [3, 0, 1, 2])
    assert times(plan) == [(1.0, 4.0), (0.0, 1.0), (0.0, 1.0), (1.0, 2.0)]
    assert plan.runner.tolist() == [1, 0, 1, 0]


def test_a_fast_host_takes_less_time() -> None:
    assert run(make_problem([[]], [Host("a", speed=4.0)]), [0]).makespan == 0.25


def test_a_copy_saves_the_transfer() -> None:
    plan = run(make_problem([[], [0], [0]], bandwidth=10.0), [0, 0, 1], [0, 1, 2], ((0, 1, 0),))
    assert times(plan) == [(0.0, 1.0), (1.0, 2.0), (1.0, 2.0), (0.0, 1.0)]
    assert (plan.bytes_moved, plan.n_copies) == (0.0, 1)


def test_the_first_copy_to_end_is_sent() -> None:
    hosts = [Host("a", speed=0.5, bandwidth=100.0), Host("b", bandwidth=100.0), Host("c", bandwidth=100.0)]
    plan = run(make_problem([[], [0]], hosts), [0, 2], [0, 1], ((0, 1, 0),))
    assert times(plan) == [(0.0, 2.0), (2.0, 3.0), (0.0, 1.0)]


def test_a_generator_yields_evenly() -> None:
    problem = make_problem([[], [0], [3]], seconds=[4.0, 1.0, 1.0], n_outputs=[4, 1, 1])
    problem.topology.is_generator[0] = True
    assert times(run(problem, [0, 1, 1])) == [(0.0, 4.0), (2.0, 3.0), (5.0, 6.0)]


def test_memory_is_held_from_the_start_of_a_task_to_the_end_of_its_last_consumer() -> None:
    # Host 0: 100 made, 100 made from it (200 at once), then one dropped. Host 1 receives 100, and makes 100.
    plan = run(make_problem([[], [0], [1]], memory=[5.0, 7.0, 0.0]), [0, 0, 1])
    assert plan.peak_memory.tolist() == [207.0, 200.0]
    assert plan.fits
    small = [Host("a", memory=206.0, bandwidth=100.0), Host("b", bandwidth=100.0)]
    assert not run(make_problem([[], [0], [1]], small, memory=[5.0, 7.0, 0.0]), [0, 0, 1]).fits


def test_outputs_are_kept_and_what_nothing_takes_is_dropped() -> None:
    kept = run(make_problem([[], []], 1), [0, 0])
    dropped = run(make_problem([[], []], 1, outputs=[1]), [0, 0])
    assert (kept.peak_memory.tolist(), dropped.peak_memory.tolist()) == ([200.0], [100.0])


def test_tasks_that_need_a_resource_wait_until_it_is_free() -> None:
    hosts = [Host("a", runners=3, resources={"gpu": 1.0})]
    problem = make_problem([[], [], []], hosts, kind=np.array([1, 1, 0], dtype=np.int32), needs=({}, {"gpu": 1.0}))
    assert times(run(problem, [0, 0, 0])) == [(0.0, 1.0), (1.0, 2.0), (0.0, 1.0)]


def test_what_is_held_at_the_start_is_sent_at_once() -> None:
    at = np.array([0], dtype=np.int32)
    problem = make_problem([[], [0], [0]], done=np.array([True, False, False]), held_dataset=at, held_host=at)
    plan = run(problem, [-1, 0, 1])
    assert times(plan) == [(0.0, 0.0), (0.0, 1.0), (1.0, 2.0)]
    assert plan.runner.tolist() == [-1, 0, 0]


def test_tasks_without_duration_and_data_without_size_take_no_time() -> None:
    assert times(run(make_problem([[], [0], [1]], seconds=0.0, nbytes=0.0), [0, 1, 0])) == [(0.0, 0.0)] * 3


@given(st.data())
@settings(deadline=None)
def test_every_execution_keeps_its_promises(data: st.DataObject) -> None:
    problem = data.draw(problems())
    placement = data.draw(placements(problem))
    plan = simulate(problem, placement, "any")
    check_plan(problem, plan)
    again = simulate(problem, placement, "any")
    assert (plan.start.tolist(), plan.peak_memory.tolist()) == (again.start.tolist(), again.peak_memory.tolist())
    assert (plan.peak_memory >= 0).all()
