"""The frozen graph as columns: topology, names, and what a service refuses."""

from __future__ import annotations

import dataclasses
import operator
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest

from headrace.errors import GraphError
from headrace.graph.builder import Graph
from headrace.graph.freezing import freeze
from headrace.graph.naming import dataset_name, dataset_names, input_names, task_metadata, task_name
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace_schemas.base import SCHEMA_VERSION
from headrace_schemas.graph import FunctionSpec, GraphSpec
from headrace_schemas.limits import FREE_DATASETS, MAX_IDS


def three(n: int) -> Any:
    yield from (n, n, n)


def spec() -> GraphSpec:
    """Task 0 makes datasets 0, 1, 2; task 1 takes 1 and makes 3; task 2 takes 3 and 1 and makes 4; task 3 takes nothing and makes 5."""
    g = Graph("g")
    steps = g.add(three, 1, outputs=3, name="steps")
    negative = g.add(operator.neg, steps[1])
    g.add(operator.add, negative, steps[1], name="sum", metadata={"unit": "K"})
    g.add(abs, -1)
    return freeze(g)


def test_the_columns_say_who_makes_and_who_takes_what() -> None:
    topology = validate(spec())
    assert (topology.n_tasks, topology.n_datasets) == (4, 6)
    assert topology.first_output.tolist() == [0, 3, 4, 5, 6]
    assert topology.input_start.tolist() == [0, 0, 1, 3, 3]
    assert topology.inputs.tolist() == [1, 3, 1]
    assert topology.producer.tolist() == [0, 0, 0, 1, 2, 3]
    assert topology.consumer_start.tolist() == [0, 0, 2, 2, 3, 3, 3]
    assert topology.consumers.tolist() == [1, 2, 2]
    assert topology.n_consumers.tolist() == [0, 2, 0, 1, 0, 0]
    assert topology.is_output.tolist() == [True, False, True, False, True, True]
    assert topology.is_generator.tolist() == [True, False, False, False]
    assert topology.n_outputs.tolist() == [3, 1, 1, 1]
    assert topology.n_inputs.tolist() == [0, 1, 2, 0]
    assert topology.inputs_of(2).tolist() == [3, 1]
    assert topology.consumers_of(1).tolist() == [1, 2]
    assert topology.outputs_of(0) == range(3)
    assert topology.inputs.dtype == topology.producer.dtype == topology.consumers.dtype == np.int32


def test_columns_that_are_left_out_stand_for_one_output_and_no_input_each() -> None:
    g = Graph()
    for i in range(3):
        g.add(abs, i)
    frozen = freeze(g)
    assert (frozen.n_outputs, frozen.n_inputs, frozen.inputs) == ([], [], [])
    topology = Topology.from_spec(frozen)
    assert topology.first_output.tolist() == [0, 1, 2, 3]
    assert topology.consumers.tolist() == []
    assert topology.consumer_start.tolist() == [0, 0, 0, 0]
    assert [dataset_name(frozen, dataset, topology) for dataset in range(3)] == ["abs-0", "abs-1", "abs-2"]
    assert dataset_names(frozen, [2, 0], topology) == ["abs-2", "abs-0"]


def test_names() -> None:
    frozen = spec()
    topology = Topology.from_spec(frozen)
    assert [task_name(frozen, task) for task in range(4)] == ["steps", "neg-1", "sum", "abs-3"]
    names = [dataset_name(frozen, dataset, topology) for dataset in range(6)]
    assert dataset_names(frozen, range(6), topology) == names
    assert names == ["steps[0]", "steps[1]", "steps[2]", "neg-1", "sum", "abs-3"]
    assert input_names(frozen, 2, topology) == ["neg-1", "steps[1]"]
    assert input_names(frozen, 0, topology) == []
    assert task_metadata(frozen, 2) == {"unit": "K"}
    assert task_metadata(frozen, 0) == {}


BY_BOTH = FunctionSpec(name="f", module="m", qualname="f", pickled=b"x")
NEITHER = FunctionSpec(name="f", module="m")

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"v": SCHEMA_VERSION + 1}, "schema version"),
    ({"n_tasks": 0}, "n_tasks is 0"),
    ({"n_tasks": 2**40}, "n_tasks is"),
    ({"n_tasks": 5}, "function has 4 entries for 5 tasks"),
    ({"function": [0, 1, 2]}, "function has 3 entries"),
    ({"function": [0, 1, 2, 4]}, r"function\[3\] is 4, which is not 0 to 3"),
    ({"function": [0, 1, -1, 3]}, r"function\[2\] is -1"),
    ({"functions": [NEITHER] * 4}, r"functions\[0\] \('f'\) travels either.*neither"),
    ({"functions": [BY_BOTH] * 4}, "both"),
    ({"functions": [FunctionSpec(name="", pickled=b"x")] * 4}, "name of 0 characters"),
    ({"functions": [FunctionSpec(name="f", pickled=b"x", retries=-1)] * 4}, "-1 retries"),
    ({"functions": [FunctionSpec(name="f", pickled=b"x", retries=1001)] * 4}, "1001 retries, not 0 to 1000"),
    ({"functions": []}, r"function\[0\] is 0"),
    ({"n_outputs": [3, 1]}, "n_outputs has 2 entries"),
    ({"n_outputs": [3, 0, 1, 1]}, r"n_outputs\[1\] is 0"),
    ({"n_outputs": [2**62, 2**62, 1, 1]}, r"n_outputs\[0\]"),
    ({"n_outputs": [MAX_IDS, 1, 1, 1]}, "datasets, more than"),
    ({"n_outputs": [2 * FREE_DATASETS, 1, 1, 1]}, "make 131,075 datasets, more than 65,.*fewer outputs"),
    ({"n_outputs": [2**70, 1, 1, 1]}, "not a 64-bit integer"),
    ({"n_inputs": [0, 1, 2]}, "n_inputs has 3 entries"),
    ({"n_inputs": []}, "inputs has 3 entries, but n_inputs adds up to 0"),
    ({"n_inputs": [0, 1, 1, 0]}, "adds up to 2"),
    ({"n_inputs": [0, 4, -1, 0]}, r"n_inputs\[1\] is 4"),
    ({"n_inputs": [0, 2, 2, -1]}, r"n_inputs\[3\] is -1"),
    ({"inputs": [1, 3, 6]}, r"inputs\[2\] is 6"),
    ({"inputs": [1, 3, -1]}, r"inputs\[2\] is -1"),
    ({"inputs": [3, 3, 1]}, r"inputs\[0\]: task 1 takes dataset 3"),
    ({"inputs": [5, 3, 1]}, r"inputs\[0\]: task 1 takes dataset 5"),
    ({"inputs": [1, 3, 3]}, "task 2 names dataset 3 twice"),
    ({"outputs": []}, "no dataset is requested"),
    ({"outputs": [6]}, r"outputs\[0\] is 6"),
    ({"outputs": [1, 1]}, "outputs names a dataset twice"),
    ({"block_size": 0}, "block_size is 0"),
    ({"block_size": 2}, "1 blocks of 2 tasks for 4 tasks, not 2"),
    ({"blocks": []}, "0 blocks"),
    ({"named": [0]}, "named has 1 ids for 2 entries"),
    ({"named": [2, 0]}, "named is not in ascending order"),
    ({"named": [0, 4]}, r"named\[1\] is 4"),
    ({"names": ["a", "a"]}, "'a' is given to several tasks"),
    ({"names": ["a", ""]}, r"names\[1\] has 0 characters"),
    ({"names": ["a", "x" * 1001]}, r"names\[1\] has 1001 characters"),
    ({"annotated": [-1]}, r"annotated\[0\] is -1"),
    ({"metadata": []}, "annotated has 1 ids for 0 entries"),
    ({"described": [0], "descriptions": []}, "described has 1 ids for 0 entries"),
    ({"described": [6], "descriptions": [{}]}, r"described\[0\] is 6"),
]


@pytest.mark.parametrize(("changes", "what"), WRONG)
def test_columns_that_do_not_fit_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(GraphError, match=f"graph 'g'.*{what}"):
        validate(msgspec.structs.replace(spec(), **changes))


def one_task() -> GraphSpec:
    g = Graph("g")
    g.add(abs, -1)
    return freeze(g)


def test_graphs_of_one_plain_task_share_a_topology_that_nobody_can_write_to() -> None:
    shared, made = validate(one_task()), Topology.from_spec(one_task())
    assert shared is validate(one_task())
    for field in dataclasses.fields(Topology):
        mine, theirs = getattr(shared, field.name), getattr(made, field.name)
        assert (mine.tolist(), mine.dtype) == (theirs.tolist(), theirs.dtype) if isinstance(mine, np.ndarray) else mine == theirs
    with pytest.raises(ValueError, match="read-only"):
        shared.is_output[0] = False


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"functions": []}, r"function\[0\] is 0"),
        ({"functions": [NEITHER]}, "neither"),
        ({"function": [1]}, r"function\[0\] is 1"),
        ({"n_outputs": [0]}, r"n_outputs\[0\] is 0"),
        ({"n_inputs": [1]}, r"n_inputs\[0\] is 1"),
        ({"inputs": [0]}, "inputs has 1 entries"),
        ({"outputs": [1]}, r"outputs\[0\] is 1"),
        ({"block_size": 0}, "block_size is 0"),
        ({"blocks": []}, "0 blocks"),
        ({"named": [0]}, "named has 1 ids for 0 entries"),
        ({"metadata": [{}]}, "annotated has 0 ids for 1 entries"),
        ({"sunk": [0], "sink": [0]}, r"sink\[0\] is 0"),
    ],
)
def test_a_graph_of_one_task_is_checked_like_others(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(GraphError, match=f"graph 'g'.*{what}"):
        validate(msgspec.structs.replace(one_task(), **changes))


def test_a_task_that_yields_has_a_topology_of_its_own() -> None:
    frozen = one_task()
    frozen.functions[0].generator = True
    assert validate(frozen).is_generator.tolist() == [True]


def test_a_generator_may_make_as_many_datasets_as_are_asked_for():
    n = 200_000
    spec = GraphSpec(
        name="g", n_tasks=1, shape_hash="", content_hash="", functions=[FunctionSpec(name="f", pickled=b"x", generator=True)], function=[0],
        n_outputs=[n], outputs=list(range(n)), blocks=[b""], block_size=1,
    )  # fmt: skip
    assert validate(spec).n_datasets == n
    spec.outputs = [0]
    with pytest.raises(GraphError, match="datasets, more than"):
        validate(spec)


def test_what_a_small_graph_declares_takes_no_memory_before_it_is_refused():
    spec = GraphSpec(
        name="g", n_tasks=1, shape_hash="", content_hash="", functions=[FunctionSpec(name="f", pickled=b"x")], function=[0],
        n_outputs=[MAX_IDS], outputs=[0], blocks=[b""], block_size=1,
    )  # fmt: skip
    tracemalloc.start()
    try:
        with pytest.raises(GraphError, match="datasets, more than"):
            validate(spec)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
