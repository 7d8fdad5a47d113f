"""What a host looks up of a graph is the same whether it was made for it or for another of its shape."""

from __future__ import annotations

import pytest

from headrace.graph.topology import Topology
from headrace.worker.agent import columns
from headrace.worker.agent.columns import FEW, MOST_KEPT, Columns
from headrace_schemas import FunctionSpec, GraphSpec


def columns_of(spec: GraphSpec) -> Columns:
    return Columns.of(spec, Topology.from_spec(spec))


def _spec(n_tasks: int, n_inputs: list[int], inputs: list[int], outputs: list[int], n_outputs: list[int] | None = None) -> GraphSpec:
    return GraphSpec(
        name="g",
        n_tasks=n_tasks,
        shape_hash="",
        content_hash="",
        functions=[FunctionSpec(name="f")],
        function=[0] * n_tasks,
        n_outputs=n_outputs or [],
        n_inputs=n_inputs,
        inputs=inputs,
        outputs=outputs,
    )


def test_the_columns_of_a_graph() -> None:
    """Task 0 makes two datasets, of which task 1 takes one; task 2 takes what task 1 made, which is asked for; nobody takes dataset 1."""
    found = columns_of(_spec(3, [0, 1, 1], [0, 2], [2, 3], n_outputs=[2, 1, 1]))
    assert found.input_start == [0, 0, 1, 2]
    assert found.first_output == [0, 2, 3, 4]
    assert found.producer == [0, 0, 1, 2]
    assert found.is_output == [False, False, True, True]
    assert found.uses_inside == [0, 0, 0, 0]
    assert found.is_taken == [True, True, True, False]
    assert found.is_needed == [True, True, True]


def test_what_may_stay_in_a_chain_and_what_nobody_needs() -> None:
    found = columns_of(_spec(3, [0, 1, 0], [0], [1]))
    assert found.uses_inside == [1, 0, 0]
    assert found.is_needed == [True, True, False]


@pytest.mark.parametrize("other", [(2, [0, 1], [0], [0, 1]), (2, [], [], [1]), (3, [0, 1, 0], [0], [1]), (2, [0, 1], [0], [1], [1, 1])])
def test_small_graphs_share_their_columns_if_their_shape_is_the_same(other: tuple) -> None:
    mine = (2, [0, 1], [0], [1])
    assert columns_of(_spec(*mine)) is columns_of(_spec(*mine))
    assert columns_of(_spec(*other)) is not columns_of(_spec(*mine))


def test_no_more_is_kept_than_that() -> None:
    large = _spec(FEW + 1, [], [], [0])
    assert columns_of(large) == columns_of(large)
    assert columns_of(large) is not columns_of(large)
    for first in range(FEW):
        for second in range(first):
            columns_of(_spec(FEW, [], [], [second, first]))
            assert len(columns._kept) <= MOST_KEPT


def test_all_graphs_of_one_task_that_takes_nothing_share_their_columns() -> None:
    spec = _spec(1, [], [], [0])
    shared = Columns.of(spec, Topology.of_one_task())
    assert shared is Columns.of(_spec(1, [], [], [0]), Topology.of_one_task())
    assert shared == columns_of(spec)
