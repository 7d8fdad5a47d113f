"""Instances for live runs: scaled, as graphs of each engine, and what is reported of their runs."""

from __future__ import annotations

import operator
from typing import Any

import pytest

from benchmarks.live.__main__ import predicted
from benchmarks.live.engines import dask_graph, headrace_graph
from benchmarks.live.report import Measured, markdown
from benchmarks.live.scaling import scaled
from benchmarks.live.tasks import work
from benchmarks.plans.instances import Input, Instance, Task
from headrace.graph.freezing import freeze

INSTANCE = Instance(
    "fork",
    (
        Task("source", 1.0, (10, 30)),
        Task("left", 2.0, (), (Input(0, 0),)),
        Task("right", 5.0, (60,), (Input(0, 1),)),
        Task("last", 0.0, (), (Input(0, 1), Input(2, 0))),
    ),
)


def test_the_totals_are_scaled_and_the_shape_stays() -> None:
    found = scaled(INSTANCE, 16.0, 1000)
    assert [task.seconds for task in found.tasks] == [2.0, 4.0, 10.0, 0.0]
    assert [task.outputs for task in found.tasks] == [(100, 300), (), (600,), ()]
    assert [task.inputs for task in found.tasks] == [task.inputs for task in INSTANCE.tasks]


def test_an_instance_without_data_or_work_is_scaled() -> None:
    assert scaled(Instance("empty", (Task("a", 0.0, (0,)),))).tasks == (Task("a", 0.0, (0,)),)


def test_the_graph_of_headrace_has_the_shape_of_the_instance() -> None:
    spec = freeze(headrace_graph(INSTANCE))
    assert (spec.n_tasks, spec.n_outputs) == (4, [2, 1, 1, 1])
    assert (spec.n_inputs, spec.inputs) == ([0, 1, 1, 2], [0, 1, 1, 3])
    assert spec.outputs == [2, 4]


def test_the_graph_of_dask_picks_one_of_several_outputs() -> None:
    graph, sinks = dask_graph(INSTANCE, "run")
    assert graph == {
        "run-0": (work, 1.0, [10, 30]),
        "run-0-0": (operator.getitem, "run-0", 0),
        "run-1": (work, 2.0, [], "run-0-0"),
        "run-0-1": (operator.getitem, "run-0", 1),
        "run-2": (work, 5.0, [60], "run-0-1"),
        "run-3": (work, 0.0, [], "run-0-1", "run-2"),
    }
    assert sinks == ["run-1", "run-3"]


@pytest.mark.parametrize(("sizes", "lengths"), [([], None), ([3], 3), ([3, 0], [3, 0])])
def test_a_task_returns_what_it_is_to_make(sizes: list[int], lengths: Any) -> None:
    made = work(0.0, sizes, "input")
    assert (made if made is None else len(made) if len(sizes) == 1 else [len(part) for part in made]) == lengths


def test_heft_has_links_of_a_gigabyte_per_second() -> None:
    tasks = (Task("a", 1.0, (10**9,)), Task("b", 3.0, (), (Input(0, 0),)), Task("c", 3.0, (), (Input(0, 0),)))
    assert predicted(Instance("i", tasks), 2) == pytest.approx(1 + 1 + 3)


def test_the_table_has_means_and_the_worst() -> None:
    found = [Measured("a", 2.0, (4.0, 2.0, 3.0, 2.2), (4.0, 5.0, 8.0)), Measured("b", 4.0, (4.0,))]
    assert found[0].record() == {
        "instance": "a",
        "heft": 2.0,
        "headrace": (4.0, 2.0, 3.0, 2.2),
        "dask": (4.0, 5.0, 8.0),
        "first / heft": 2.0,
        "later / heft": 1.1,
        "first / dask": 0.8,
    }
    assert markdown(found).splitlines()[2:] == [
        "| a | 2.00 | 4.00 | 2.20 | 5.00 | 2.000 | 1.100 | 0.800 |",
        "| b | 4.00 | 4.00 | - | - | 1.000 | - | - |",
        "| mean |  |  |  |  | 1.414 | 1.100 | 0.800 |",
        "| worst |  |  |  |  | 2.000 | 1.100 | 0.800 |",
    ]
