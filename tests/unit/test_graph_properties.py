"""Random graphs, built through the user's interface, frozen and run, give what Python gives when it makes the same calls."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import GraphError
from headrace.graph import freezing
from headrace.graph.builder import Graph
from headrace.graph.freezing import freeze
from headrace.graph.node import Dataset, Node
from headrace.graph.task import task
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace_schemas.graph import GraphSpec
from tests.unit.graph_reference import evaluate, travelled

Pair = namedtuple("Pair", "left right")
quick = settings(max_examples=60, deadline=None)  # the machine that runs the tests may be busy


class Ref:
    """Stands for an earlier task in the plan of a random graph, or for one of its outputs."""

    def __init__(self, task: int, output: int | None) -> None:
        self.task = task
        self.output = output


def record(*args: Any, **kwargs: Any) -> Any:
    """What it was called with."""
    return ("record", args, tuple(kwargs.items()))


def split(n: int, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """n different values."""
    return tuple((i, args, tuple(kwargs.items())) for i in range(n))


def stream(n: int, *args: Any, **kwargs: Any) -> Any:
    yield from split(n, *args, **kwargs)


leaves = st.one_of(st.integers(-5, 5), st.text(max_size=3), st.none(), st.floats(allow_nan=False), st.binary(max_size=3))


def nested(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.text(max_size=2), inner, max_size=3),
            st.builds(Pair, inner, inner),
        ),
        max_leaves=5,
    )


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[Any, int, list[Any], dict[str, Any]]]:
    """Calls in order: function, number of outputs, arguments and keyword arguments, with a Ref wherever an earlier task's value is used."""
    plan: list[tuple[Any, int, list[Any], dict[str, Any]]] = []
    for _ in range(draw(st.integers(1, 8))):
        n = draw(st.integers(1, 4))
        function = record if n == 1 else draw(st.sampled_from([split, stream]))
        refs = [Ref(t, o) for t, call in enumerate(plan) for o in ([None] if call[1] == 1 else [None, *range(call[1])])]
        values = nested(st.one_of(leaves, st.sampled_from(refs)) if refs else leaves)
        args = draw(st.lists(values, max_size=3))
        kwargs = draw(st.dictionaries(st.sampled_from(["alpha", "beta", "function"]), values, max_size=2))
        plan.append((function, n, args if n == 1 else [n, *args], kwargs))
    return plan


def replace(value: Any, refs: Any) -> Any:
    """The value with refs(task, output) in place of each Ref."""
    if isinstance(value, Ref):
        return refs(value.task, value.output)
    if isinstance(value, Pair):
        return Pair(*(replace(item, refs) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(replace(item, refs) for item in value)
    return {key: replace(item, refs) for key, item in value.items()} if isinstance(value, dict) else value


def directly(plan: list[Any]) -> list[list[Any]]:
    """The values of each task's outputs, by calling the functions one after another."""
    values: list[list[Any]] = []

    def refs(number: int, output: int | None) -> Any:
        made = values[number]
        return made[output] if output is not None else made[0] if len(made) == 1 else list(made)

    for function, n, args, kwargs in plan:
        result = function(*replace(args, refs), **replace(kwargs, refs))
        values.append(list(result) if n > 1 else [result])
    return values


def node_of(nodes: list[Node]) -> Any:
    def find(number: int, output: int | None) -> Node | Dataset:
        return nodes[number] if output is None else nodes[number][output]

    return find


def explicit(plan: list[Any]) -> Graph:
    graph = Graph("random")
    nodes: list[Node] = []
    for function, n, args, kwargs in plan:
        nodes.append(graph.add(function, *replace(args, node_of(nodes)), outputs=n, **replace(kwargs, node_of(nodes))))
    graph.output(nodes)
    return graph


def implicit(plan: list[Any]) -> Graph:
    nodes: list[Node] = []
    for function, n, args, kwargs in plan:
        options = task(function).options(outputs=n)
        nodes.append(options(*replace(args, node_of(nodes)), **replace(kwargs, node_of(nodes))))
    return Graph.from_nodes(nodes, name="random")


@quick
@given(plans())
def test_a_graph_gives_what_the_calls_give(plan: list[Any]) -> None:
    assert list(evaluate(freeze(explicit(plan))).values()) == [value for made in directly(plan) for value in made]


@quick
@given(plans())
def test_decorated_calls_make_the_same_graph(plan: list[Any]) -> None:
    spec = freeze(implicit(plan))
    assert list(evaluate(spec).values()) == [value for made in directly(plan) for value in made]
    assert spec.n_tasks == len(plan)


@quick
@given(plans(), st.data())
def test_a_part_of_a_graph_gives_the_same_values(plan: list[Any], data: st.DataObject) -> None:
    graph = Graph("whole")
    nodes: list[Node] = []
    for function, n, args, kwargs in plan:
        nodes.append(graph.add(function, *replace(args, node_of(nodes)), outputs=n, **replace(kwargs, node_of(nodes))))
    asked = data.draw(st.lists(st.sampled_from(range(len(nodes))), min_size=1, unique=True))
    values = directly(plan)
    part = freeze(Graph.from_nodes([nodes[number] for number in asked]))
    assert list(evaluate(part).values()) == [value for number in asked for value in values[number]]
    assert part.n_tasks <= len(graph)


@quick
@given(plans())
def test_the_columns_agree_with_each_other(plan: list[Any]) -> None:
    spec = freeze(explicit(plan))
    topology = validate(travelled(spec))
    edges = {(int(d), t) for t in range(spec.n_tasks) for d in topology.inputs_of(t)}
    assert edges == {(d, int(t)) for d in range(topology.n_datasets) for t in topology.consumers_of(d)}
    assert len(edges) == len(topology.inputs)
    assert all(topology.producer[d] < t for d, t in edges)
    assert all(topology.producer[d] == t for t in range(spec.n_tasks) for d in topology.outputs_of(t))
    assert np.array_equal(topology.n_consumers, np.diff(topology.consumer_start))


@quick
@given(plans(), st.integers(1, 5))
def test_the_size_of_blocks_does_not_matter(plan: list[Any], size: int) -> None:
    graph, whole = explicit(plan), freezing.BLOCK_SIZE
    try:
        freezing.BLOCK_SIZE = size
        spec = freeze(graph)
    finally:
        freezing.BLOCK_SIZE = whole
    assert spec.block_size == size
    assert evaluate(spec) == evaluate(freeze(graph))
    assert spec.shape_hash == freeze(graph).shape_hash


@quick
@given(plans(), st.data())
def test_no_submission_crashes_a_service(plan: list[Any], data: st.DataObject) -> None:
    """Columns with an entry changed are refused with a GraphError or give a topology that can be walked."""
    spec = travelled(freeze(explicit(plan)))
    column = data.draw(st.sampled_from(["function", "n_outputs", "n_inputs", "inputs", "outputs", "named", "annotated"]))
    values: list[int] = list(getattr(spec, column))
    entry = st.one_of(st.integers(-2, 12), st.integers())
    if values and data.draw(st.booleans()):
        values[data.draw(st.integers(0, len(values) - 1))] = data.draw(entry)
    else:
        values.insert(data.draw(st.integers(0, len(values))), data.draw(entry))
    setattr(spec, column, values)
    try:
        topology = validate(spec)
    except GraphError:
        return
    walk(spec, topology)


def walk(spec: GraphSpec, topology: Topology) -> None:
    for number in range(spec.n_tasks):
        assert all(topology.producer[dataset] < number for dataset in topology.inputs_of(number))
    assert topology.consumers.max(initial=0) < spec.n_tasks
