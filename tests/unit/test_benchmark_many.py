"""The benchmark of many jobs: its graphs have the tasks that they are asked for."""

from __future__ import annotations

import pytest

from benchmarks.many import layered
from headrace.graph.freezing import freeze


@pytest.mark.parametrize("n_tasks", [1, 20, 200])
def test_a_graph_has_as_many_tasks_as_asked_for_and_three_inputs_from_the_layer_before(n_tasks: int) -> None:
    spec = freeze(layered(n_tasks))
    assert spec.n_tasks == n_tasks
    assert len(spec.inputs) == 3 * max(0, n_tasks - 20)
