"""Graph.add, nodes, outputs, names, and the errors that they raise."""

from __future__ import annotations

import functools
import operator
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

from headrace.errors import GraphError, HeadraceError
from headrace.graph.builder import Graph
from headrace.graph.freezing import freeze
from headrace.graph.node import Dataset, Node
from tests.unit.graph_reference import evaluate

Pair = namedtuple("Pair", "left right")


def count_up(n: int, start: int = 0) -> Any:
    yield from range(start, start + n)


def everything(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def run(node: Node | Dataset) -> Any:
    (value,) = evaluate(freeze(Graph.from_nodes(node))).values()
    return value


def test_positional_and_keyword_arguments_reach_the_function() -> None:
    g = Graph()
    a, b = g.add(abs, -1), g.add(abs, -2)
    assert run(g.add(everything, a, 5, b, "x", key=b, other=None)) == ((1, 5, 2, "x"), {"key": 2, "other": None})
    assert run(g.add(everything)) == ((), {})
    assert run(g.add(everything, 1, k=2)) == ((1,), {"k": 2})
    assert run(g.add(everything, k=a)) == ((), {"k": 1})


def test_nodes_are_found_in_nested_lists_tuples_dicts_and_named_tuples() -> None:
    g = Graph()
    a, b = g.add(abs, -1), g.add(abs, -2)
    nested = {"list": [a, 7, [b]], "tuple": (b, {"deep": a}), "pair": Pair(a, [b, "z"]), "static": {1: [2]}}
    value = run(g.add(everything, nested, [b, a, b], options={"k": (a,)}))
    expected = {"list": [1, 7, [2]], "tuple": (2, {"deep": 1}), "pair": Pair(1, [2, "z"]), "static": {1: [2]}}
    assert value == ((expected, [2, 1, 2]), {"options": {"k": (1,)}})
    assert type(value[0][0]["pair"]) is Pair


def test_a_dataset_used_twice_by_a_task_is_one_input() -> None:
    g = Graph()
    a = g.add(abs, -3)
    spec = freeze(Graph.from_nodes(g.add(everything, a, [a, a], k=a)))
    assert spec.n_inputs == [0, 1]
    assert evaluate(spec) == {"everything-1": ((3, [3, 3]), {"k": 3})}


def test_several_outputs_of_a_generator_and_of_a_function() -> None:
    g = Graph()
    steps = g.add(count_up, 4, start=10, outputs=4)
    quotient, remainder = g.add(divmod, 17, 5, outputs=2)
    assert len(steps) == 4
    assert [step.name for step in steps] == ["count_up-0[0]", "count_up-0[1]", "count_up-0[2]", "count_up-0[3]"]
    assert steps[-1] == steps[3]
    assert steps[1:3] == [steps[1], steps[2]]
    assert run(g.add(operator.sub, steps[3], steps[0])) == 3
    assert run(g.add(operator.truediv, quotient, remainder)) == 1.5
    assert run(g.add(everything, steps)) == (([10, 11, 12, 13],), {})
    assert run(g.add(everything, steps[2], steps, [steps])) == ((12, [10, 11, 12, 13], [[10, 11, 12, 13]]), {})


def test_a_generator_may_be_wrapped_in_a_partial() -> None:
    g = Graph()
    g.add(functools.partial(count_up, start=5), 3, outputs=3)
    spec = freeze(g)
    assert spec.functions[0].generator
    assert spec.functions[0].name == "count_up"
    assert evaluate(spec) == {"count_up-0[0]": 5, "count_up-0[1]": 6, "count_up-0[2]": 7}


def test_a_parameter_called_name_is_reached_with_a_partial() -> None:
    g = Graph()
    assert run(g.add(functools.partial(everything, name="n", outputs=3), 1, metadata={"unit": "K"})) == ((1,), {"name": "n", "outputs": 3})


def test_outputs_default_to_what_nothing_consumes() -> None:
    g = Graph()
    a, b = g.add(abs, -1, name="a"), g.add(abs, -2, name="b")
    g.add(operator.add, a, 1, name="sum")
    assert evaluate(freeze(g)) == {"b": 2, "sum": 2}
    g.output(a, [b])
    g.output(a)
    assert evaluate(freeze(g)) == {"a": 1, "b": 2}


def test_an_output_may_be_one_of_several() -> None:
    g = Graph()
    steps = g.add(count_up, 3, outputs=3, name="steps")
    g.output(steps[1])
    assert evaluate(freeze(g)) == {"steps[1]": 1}
    g.output(steps)
    assert evaluate(freeze(g)) == {"steps[0]": 0, "steps[1]": 1, "steps[2]": 2}


def test_default_names_are_made_of_function_and_id() -> None:
    g = Graph("g")
    first, second = g.add(abs, 1), g.add(lambda: 0)
    third = g.add(abs, 1, name="mine", metadata={"a": 1})
    assert (first.name, second.name, third.name) == ("abs-0", "lambda-1", "mine")
    assert (first.metadata, third.metadata) == ({}, {"a": 1})
    assert repr(third) == "<Node 'mine', of graph 'g'>"
    assert repr(g) == "<Graph 'g': 3 tasks>"
    assert g.task_called("abs-0") == 0
    assert g.task_called("mine") == 2
    assert g.task_called("abs-2") is None


def test_metadata_is_copied_when_it_is_given() -> None:
    g = Graph()
    given = {"step": 0}
    g.add(abs, 1, metadata=given)
    given["step"] = 1
    assert freeze(g).metadata == [{"step": 0}]


def test_each_output_may_have_metadata_of_its_own() -> None:
    g = Graph()
    wind = g.add(divmod, 7, 2, outputs=[{"param": "u"}, {"param": "v", "level": 10}], metadata={"step": 6, "param": "wind"})
    single = g.add(abs, 1, outputs=[{"param": "t"}])
    plain = g.add(divmod, 1, 1, outputs=[{}, {}])
    assert [wind.n_outputs, single.n_outputs, plain.n_outputs] == [2, 1, 2]
    assert wind[1].metadata == {"step": 6, "param": "v", "level": 10}
    assert (wind.metadata, plain[0].metadata, single.output_metadata(0)) == ({"step": 6, "param": "wind"}, {}, {"param": "t"})
    spec = freeze(g)
    assert (spec.described, spec.descriptions) == ([0, 1, 2], [{"param": "u"}, {"param": "v", "level": 10}, {"param": "t"}])
    assert evaluate(spec) == {"divmod-0[0]": 3, "divmod-0[1]": 1, "abs-1": 1, "divmod-2[0]": 1, "divmod-2[1]": 0}


def test_metadata_of_outputs_goes_along_when_a_graph_is_copied() -> None:
    g = Graph()
    g.add(abs, 5)
    wind = g.add(divmod, 7, 2, outputs=[{"param": "u"}, {}])
    spec = freeze(Graph.from_nodes(wind[0]))
    assert (spec.n_tasks, spec.described, spec.descriptions) == (1, [0], [{"param": "u"}])


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ([], "empty list"),
        ([{"a": 1}, 2], "metadata of output 1 of task 'odd' is 2: give a dict"),
        ([{"a": float("nan")}], "output 0 of task 'odd'.*nan"),
        ({"a": 1}, "an int of at least 1"),
        ("ab", "an int of at least 1"),
    ],
)
def test_what_describes_no_outputs_is_refused(outputs: Any, why: str) -> None:
    with pytest.raises(GraphError, match=why):
        Graph().add(divmod, 1, 1, name="odd", outputs=outputs)


def test_containers_with_nodes_are_taken_as_they_are_when_the_task_is_added() -> None:
    g = Graph()
    nodes = [g.add(abs, -1)]
    total = g.add(sum, nodes)
    nodes.append(total)
    assert evaluate(freeze(g)) == {"sum-1": 1}


def test_a_node_has_no_truth_length_items_or_iteration() -> None:
    node = Graph().add(abs, 1)
    for misuse in (bool, len, list, lambda n: n[0]):
        with pytest.raises(TypeError, match=r"abs-0.*before the graph runs"):
            misuse(node)
    steps = Graph().add(divmod, 5, 3, outputs=2)
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(steps[0])
    with pytest.raises(TypeError):
        steps["0"]  # type: ignore[call-overload]
    assert steps[np.int64(1)].index == 1


def test_an_output_that_does_not_exist_is_refused() -> None:
    steps = Graph().add(divmod, 5, 3, outputs=2)
    for index in (2, -3):
        with pytest.raises(GraphError, match=rf"divmod-0.*no output {index}: it has 2"):
            steps[index]


def test_a_name_is_unique() -> None:
    g = Graph("g")
    g.add(abs, 1, name="a")
    with pytest.raises(GraphError, match="'a' already"):
        g.add(abs, 2, name="a")
    assert len(g) == 1


@pytest.mark.parametrize("name", [5, "", "x" * 1001, b"a"])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(GraphError, match="the name of a task"):
        Graph().add(abs, 1, name=name)
    with pytest.raises(GraphError, match="the name of a graph"):
        Graph(name)


def test_names_that_look_like_made_ones_are_fine_unless_they_are_made() -> None:
    g = Graph()
    for hour in range(5):
        g.add(abs, hour, name=f"abs-{hour + 1}")
    freeze(g)
    g.add(abs, 9)
    with pytest.raises(GraphError, match="'abs-5', and so is task 5"):
        freeze(g)


def test_a_name_that_is_also_a_dataset_is_refused() -> None:
    g = Graph()
    g.add(divmod, 5, 3, outputs=2, name="pair")
    g.add(abs, 1, name="pair[2]")
    freeze(g)
    g.add(abs, 1, name="pair[1]")
    with pytest.raises(GraphError, match=r"output 1 of task 'pair'"):
        freeze(g)


def test_a_node_of_another_graph_is_refused() -> None:
    g, other = Graph("g"), Graph("other")
    foreign = other.add(abs, 1)
    for attempt in (lambda: g.add(abs, [foreign]), lambda: g.output(foreign)):
        with pytest.raises(GraphError, match="'abs-0' belongs to graph 'other', not to 'g'"):
            attempt()
    assert len(g) == 0


@pytest.mark.parametrize("outputs", [0, -1, 1.5, "2"])
def test_what_is_no_count_of_outputs_is_refused(outputs: Any) -> None:
    with pytest.raises(GraphError, match="outputs of task 'abs-0'"):
        Graph().add(abs, 1, outputs=outputs)


def test_metadata_is_a_dict_that_json_can_carry() -> None:
    g = Graph()
    with pytest.raises(GraphError, match=r"metadata of task 'abs-0'.*key 1"):
        g.add(abs, 1, metadata={1: 2})  # type: ignore[dict-item]
    with pytest.raises(GraphError, match=r"metadata of task 'odd'.*numpy"):
        g.add(abs, 1, name="odd", metadata={"step": np.complex64(3)})
    assert len(g) == 0
    g.add(abs, 1, name="odd", metadata=(given := {"list": [np.int64(3)]}))
    given["list"].append(np.complex64(3))
    assert freeze(g).metadata == [{"list": [3]}]


def test_a_name_that_json_cannot_carry_is_refused() -> None:
    g = Graph()
    g.add(abs, 1, name="\ud800")
    with pytest.raises(GraphError, match=r"name .* of task 0 cannot be sent"):
        freeze(g)


def test_only_callables_are_tasks_and_only_nodes_outputs() -> None:
    g = Graph()
    with pytest.raises(TypeError, match="give a function"):
        g.add(5)  # type: ignore[arg-type]
    for thing in (5, "abs-0", b"abs-0"):
        with pytest.raises(TypeError, match="an output is a node"):
            g.output(thing)  # type: ignore[arg-type]


def test_an_argument_that_contains_itself_is_refused() -> None:
    g = Graph()
    loop: list[Any] = [g.add(abs, 1)]
    loop.append(loop)
    with pytest.raises(GraphError, match="contains itself"):
        g.add(everything, loop)


def test_an_empty_graph_is_refused() -> None:
    with pytest.raises(GraphError, match="'g' is empty"):
        freeze(Graph("g"))
    with pytest.raises(HeadraceError):
        freeze(Graph("g"))


def test_from_nodes_of_a_graph_takes_what_they_need_and_no_more() -> None:
    g = Graph("all")
    steps = g.add(count_up, 3, outputs=3, name="steps")
    g.add(abs, -100, name="not needed")
    doubled = g.add(operator.mul, steps[2], 2, metadata={"k": 1})
    g.add(operator.mul, doubled, 2)
    spec = freeze(Graph.from_nodes([doubled, steps[0]], name="part"))
    assert spec.name == "part"
    assert spec.metadata == [{"k": 1}]
    assert evaluate(spec) == {"mul-1": 4, "steps[0]": 0}
    assert len(g) == 4
