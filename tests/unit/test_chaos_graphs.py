"""The answers of chaos graphs are what their tasks compute, and what a task reads is checked."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from tests.chaos.graphs import GraphPlan, Task, draw_graph
from tests.chaos.tasks import made, number_in, steps, work


def run_serially(plan: GraphPlan) -> dict[str, Any]:
    """The values of all datasets, by name."""
    values: dict[tuple[int, int], Any] = {}
    for index, task in enumerate(plan.tasks):
        read = [plan.tasks[source].sizes[output] for source, output in task.inputs]
        inputs = [values[place] for place in task.inputs]
        if len(task.sizes) == 1:
            values[index, 0] = work(task.key, 0.0, task.sizes[0], read, *inputs)
        else:
            values.update({(index, output): value for output, value in enumerate(steps(task.key, 0.0, task.sizes, read, *inputs))})
    return {plan.output_name(*place): value for place, value in values.items()}


@pytest.mark.parametrize("seed", range(20))
def test_answers_are_what_the_tasks_compute(seed: int) -> None:
    plan = draw_graph(Random(seed), "graph", 3.0)
    values = run_serially(plan)
    answers = plan.answers()
    assert answers
    assert {name: (number_in(values[name], size), size) for name, (_, size) in answers.items()} == answers


@pytest.mark.parametrize("seed", range(20))
def test_a_built_graph_has_the_outputs_that_have_answers(seed: int) -> None:
    from headrace.graph.freezing import freeze
    from headrace.graph.naming import dataset_names
    from headrace.graph.topology import Topology

    plan = draw_graph(Random(seed), "graph", 2.0)
    spec = freeze(plan.build())
    assert set(dataset_names(spec, spec.outputs, Topology.from_spec(spec))) == set(plan.answers())


def test_the_work_in_a_graph_is_what_was_asked_for() -> None:
    for seed in range(20):
        assert 2.0 <= draw_graph(Random(seed), "graph", 4.0).seconds <= 4.1


def test_one_seed_gives_one_graph() -> None:
    assert draw_graph(Random(7), "graph", 3.0) == draw_graph(Random(7), "graph", 3.0)


def test_an_answer_depends_on_every_input_and_its_place() -> None:
    def answer(*inputs: tuple[int, int]) -> int:
        tasks = (Task(1, 0.0, (8,)), Task(2, 0.0, (8,)), Task(3, 0.0, (8,), inputs))
        return GraphPlan("graph", tasks).answers()["t2"][0]

    assert len({answer(), answer((0, 0)), answer((1, 0)), answer((0, 0), (1, 0)), answer((1, 0), (0, 0))}) == 5


@pytest.mark.parametrize("value", [3, np.full(9, 3), np.full(10, 3.0)[:5], np.array([3] * 9 + [4]), np.array([4] + [3] * 9), b"3" * 80])
def test_a_value_that_is_not_the_array_that_was_made_is_refused(value: Any) -> None:
    assert number_in(made(3, 80), 80) == 3
    with pytest.raises(ValueError, match="80 bytes"):
        number_in(value, 80)
