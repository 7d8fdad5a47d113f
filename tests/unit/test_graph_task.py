"""hr.task: decorated functions on values and on nodes, and graphs made of such calls."""

from __future__ import annotations

import functools
import inspect
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headrace.callables import unwrap
from headrace.errors import GraphError, NotPicklable
from headrace.graph.builder import Graph
from headrace.graph.freezing import freeze
from headrace.graph.functions import load_function
from headrace.graph.node import Node
from headrace.graph.task import Task, delayed, task
from headrace_schemas.limits import MAX_RETRIES
from tests.unit.graph_reference import evaluate

calls: list[int] = []


@task
def load(hour: int) -> int:
    """Loads an hour."""
    calls.append(hour)
    return 10 * hour


@task
def mean(fields: list[float]) -> float:
    return sum(fields) / len(fields)


@task(name="steps", outputs=3, retries=2)
def forecast(start: int) -> Any:
    for step in range(3):
        yield start + step


@task
def factorial(n: int) -> int:
    return 1 if n == 0 else n * factorial(n - 1)


class Model:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    @task
    def scale(self, value: int) -> int:
        return self.factor * value

    def plain(self, value: int) -> int:
        return self.factor + value

    def __call__(self, n: int) -> Any:
        yield from range(n)


def values(*nodes: Any) -> list[Any]:
    return list(evaluate(freeze(Graph.from_nodes(nodes))).values())


def test_on_values_it_is_the_function() -> None:
    assert mean([1.0, 3.0]) == 2.0
    assert load(hour=3) == 30
    assert load.__name__ == "load"
    assert load.__doc__ == "Loads an hour."
    assert str(inspect.signature(load)) == "(hour: 'int') -> 'int'"


def test_calls_on_nodes_make_a_graph_and_a_shared_node_is_computed_once() -> None:
    calls.clear()
    fields = [load.delay(hour) for hour in range(4)]
    average = mean(fields)
    shifted = delayed(operator.sub)(average, mean(fields=[fields[0], average]))
    assert isinstance(shifted, Node)
    assert calls == []
    assert values(shifted, average) == [15.0 - 7.5, 15.0]
    assert sorted(calls) == [0, 1, 2, 3]


def test_the_same_nodes_make_any_number_of_graphs() -> None:
    node = mean([load.delay(1), load.delay(2)])
    assert values(node) == values(node) == [15.0]
    assert node.graph is None
    assert repr(node) == "<Node 'mean', not in a graph yet>"


def test_the_decorators_options_hold_for_its_tasks() -> None:
    steps = forecast.delay(5)
    assert len(steps) == 3
    spec = freeze(Graph.from_nodes([mean(steps), steps[1]]))
    assert (spec.functions[0].name, spec.functions[0].retries, spec.functions[0].generator) == ("steps", 2, True)
    assert evaluate(spec) == {"mean-1": 6.0, "steps-0[1]": 6}


def test_options_name_one_node() -> None:
    node = load.options(name="first", metadata={"hour": 0})(7)
    pair = task(divmod).options(outputs=2)(node, 40)
    assert node.name == "first"
    assert node.metadata == {"hour": 0}
    spec = freeze(Graph.from_nodes([node, pair]))
    assert (spec.names, spec.metadata) == (["first"], [{"hour": 0}])
    assert evaluate(spec) == {"first": 70, "divmod-1[0]": 1, "divmod-1[1]": 30}


def test_a_free_node_keeps_the_metadata_of_its_outputs() -> None:
    pair = task(divmod, outputs=[{"part": "quotient"}, {"part": "rest"}]).delay(7, 2)
    other = task(divmod).options(outputs=[{"part": "other"}, {}])(pair[0], 2)
    assert (pair.n_outputs, pair[1].metadata, other[0].metadata) == (2, {"part": "rest"}, {"part": "other"})
    spec = freeze(Graph.from_nodes([pair, other]))
    assert spec.descriptions == [{"part": "quotient"}, {"part": "rest"}, {"part": "other"}]
    g = Graph()
    bound = task(divmod, outputs=[{"part": "a"}, {"part": "b"}])(g.add(abs, 5), 2)
    assert (bound.graph, bound[1].metadata) == (g, {"part": "b"})


def test_options_are_checked_where_they_are_given() -> None:
    for wrong in ({"name": 5}, {"outputs": 0}, {"outputs": [1]}, {"metadata": [1]}):
        with pytest.raises(GraphError):
            load.options(**wrong)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="retries"):
        task(abs, retries=-1)
    assert task(abs, retries=MAX_RETRIES).retries == MAX_RETRIES == 1000
    with pytest.raises(GraphError, match=r"retries of function 'abs' is 1,001: give 1,000 or less"):
        task(abs, retries=1001)
    with pytest.raises(TypeError, match=r"hr\.task decorates"):
        task(5)  # type: ignore[call-overload]


def test_a_call_on_a_graphs_node_is_of_that_graph() -> None:
    g = Graph()
    fields = [g.add(load, hour) for hour in (1, 3)]
    average = mean(fields)
    assert average.graph is g
    assert len(g) == 3
    assert evaluate(freeze(g)) == {"mean-2": 20.0}


def test_a_free_node_given_to_a_graph_is_added_to_it_once() -> None:
    g = Graph()
    free = load.delay(2)
    total = g.add(operator.add, free, mean([free, g.add(load, 4)]))
    g.output(free)
    assert total.graph is g
    assert free.graph is None
    assert len(g) == 4
    assert evaluate(freeze(g)) == {"load-1": 20}


def test_nodes_of_two_graphs_do_not_meet_in_a_call() -> None:
    with pytest.raises(GraphError, match="belongs to graph"):
        mean([Graph("a").add(load, 1), Graph("b").add(load, 1)])


def test_a_node_is_never_a_cycle_even_if_its_list_is_modified() -> None:
    arguments: list[Any] = [1.0]
    node = mean.delay(arguments)
    arguments.append(node)
    with pytest.raises(NotPicklable, match=r"argument 0 .* was changed after `add`"):
        freeze(Graph.from_nodes(node))


def test_a_deep_chain_of_calls_is_no_deep_recursion() -> None:
    increment = task(functools.partial(operator.add, 1))
    node = increment.delay(0)
    for _ in range(20_000):
        node = increment(node)
    assert values(node) == [20_001]


def test_a_decorated_function_in_a_module_travels_by_name() -> None:
    spec = freeze(Graph.from_nodes(load.delay(1)))
    (function,) = spec.functions
    assert (function.module, function.qualname, function.pickled) == (__name__, "load", b"")
    assert load_function(function) is load.function
    assert pickle.loads(pickle.dumps(load)) is load
    assert unwrap(load) is load.function
    assert unwrap(abs) is abs


def test_decorated_functions_of_main_and_of_functions_travel_with_their_code() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "task": task}
    exec("@task\ndef twice(x):\n    return 2 * x\n\n@task\ndef fact(n):\n    return 1 if n == 0 else n * fact(n - 1)", namespace)

    @task(outputs=2)
    def local(x: int) -> tuple[int, int]:
        return x, -x

    nodes = [namespace["twice"].delay(4), namespace["fact"].delay(5), *local.delay(1)]
    spec = freeze(Graph.from_nodes(nodes))
    assert all(function.pickled for function in spec.functions)
    assert list(evaluate(spec).values()) == [8, 120, 1, -1]


def test_a_recursive_function_calls_itself_in_a_runner() -> None:
    assert values(factorial.delay(5)) == [120]


def test_decorated_methods_and_plain_ones_are_tasks() -> None:
    model = Model(3)
    source = load.delay(2)
    spec = freeze(Graph.from_nodes([model.scale(source), Task(model.plain).delay(source)]))
    assert list(evaluate(spec).values()) == [60, 23]
    assert model.scale(5) == 15


def test_a_bound_method_is_pickled_once() -> None:
    model, g = Model(3), Graph()
    for value in range(5):
        g.add(model.plain, value)
        g.add(model.scale, value)
        g.add("abc".index, "c")
    assert [function.name for function in freeze(g).functions] == ["plain", "scale", "index"]


def test_an_object_whose_call_yields_is_a_generator() -> None:
    g = Graph()
    steps = g.add(Model(1), 3, outputs=3)
    assert evaluate(freeze(Graph.from_nodes(steps))) == {"Model-0[0]": 0, "Model-0[1]": 1, "Model-0[2]": 2}


def test_a_partial_of_a_decorated_function_runs_the_plain_one() -> None:
    bound = functools.partial(load, hour=4)
    g = Graph()
    g.add(bound)
    spec = freeze(g)
    assert load_function(spec.functions[0]).func is load.function  # type: ignore[attr-defined]
    assert evaluate(spec) == {"load-0": 40}


def test_a_decorated_function_may_be_an_argument() -> None:
    g = Graph()
    assert evaluate(freeze(Graph.from_nodes(g.add(functools.reduce, task(operator.add), [g.add(abs, -1), 2, 3])))) == {"reduce-1": 6}


def three(start: int) -> Iterator[int]:
    yield from range(start, start + 3)


@pytest.mark.parametrize(
    "add",
    [
        lambda g: g.add(three, 1),
        lambda g: g.add(functools.partial(three, 1)),
        lambda g: g.add(task(three), 1),
        lambda g: g.add(functools.partial(task(three), 1)),
        lambda g: task(three)(g.add(abs, 1)),
        lambda g: task(three).delay(1),
        lambda g: delayed(three)(1),
        lambda g: task(three).options(name="steps")(1),
    ],
)
def test_a_generator_function_says_how_many_it_yields(add: Callable[[Graph], Any]) -> None:
    with pytest.raises(GraphError, match=r"'three' is a generator function.*give outputs=n"):
        add(Graph())


def test_a_generator_function_may_yield_a_single_dataset() -> None:
    g = Graph()
    for node in (g.add(three, 1, outputs=1), task(three, outputs=1).delay(1), task(three).options(outputs=1)(1)):
        assert node.n_outputs == 1
