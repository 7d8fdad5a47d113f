from __future__ import annotations

import numpy as np
import pytest

from headrace.graph.topology import Topology
from headrace.scheduler.planners.plan import Placement
from headrace.scheduler.planners.problem import Host, Problem
from tests.scheduler_graphs import make_spec, topology_of


def problem(topology: Topology, hosts: tuple[Host, ...] = (Host("a"), Host("b", resources={"gpu": 1.0})), **changes: object) -> Problem:
    n, m = topology.n_tasks, topology.n_datasets
    return Problem(topology, hosts, **{"seconds": np.ones(n), "nbytes": np.ones(m), "memory": np.zeros(n)} | changes)  # type: ignore[arg-type]


PAIR = topology_of(make_spec([[], [0]]))


def test_a_problem_says_which_hosts_may_run_which_tasks() -> None:
    made = problem(PAIR, kind=np.array([0, 1], dtype=np.int32), needs=({}, {"gpu": 1.0}))
    assert made.allowed == ((0, 1), (1,))
    assert [[made.may_run(task, host) for host in range(2)] for task in range(2)] == [[True, True], [False, True]]
    assert made.demand is not None
    assert made.demand.rates.tolist() == [[1.0, 1.0], [0.0, 1.0]]


def test_tasks_that_need_nothing_run_anywhere() -> None:
    made = problem(PAIR)
    assert (made.allowed, made.may_run(1, 0), made.demand) == (((0, 1),), True, None)


def test_done_tasks_are_not_to_be_planned() -> None:
    made = problem(PAIR, done=np.array([True, False]))
    assert (made.undone.tolist(), made.is_done(0), made.is_done(1)) == ([1], True, False)
    assert (problem(PAIR).undone.tolist(), problem(PAIR).is_done(0)) == ([0, 1], False)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seconds": np.ones(3)}, "the column seconds of a problem has 3 entries: give 2"),
        ({"nbytes": np.ones(1)}, "the column nbytes"),
        ({"done": np.array([True])}, "0 and 1 entries: give none or 2"),
        ({"hosts": ()}, "no hosts"),
        ({"kind": np.zeros(2, dtype=np.int32), "needs": ({"tpu": 1.0},)}, "no host of a problem has what tasks of kind 0 need"),
    ],
)
def test_a_problem_refuses_what_cannot_be_planned(changes: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        problem(PAIR, **changes)  # type: ignore[arg-type]


def test_copies_are_further_rows_of_a_placement() -> None:
    made = Placement.of([0, 1], [0, 1], [(0, 1, 0)])
    assert (made.task.tolist(), made.host.tolist(), made.order.tolist()) == ([0, 1, 0], [0, 1, 1], [0, 1, 0])
    assert Placement.of([0, 1], [0, 1]).task.tolist() == [0, 1]
