"""Freezing a graph: how functions and arguments travel, what cannot travel, and the hashes."""

from __future__ import annotations

import functools
import operator
import subprocess
import sys
import threading
import types
from typing import Any

import cloudpickle
import msgspec
import numpy as np
import pytest

from headrace.errors import FunctionNotFound, NotPicklable
from headrace.graph.builder import Graph
from headrace.graph.freezing import BLOCK_SIZE, freeze
from headrace.graph.functions import load_function
from headrace.graph.hashing import code_bytes, shape_hash
from headrace.graph.node import Node
from headrace.graph.output import Output
from headrace.graph.templates import bind, load_block
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace_schemas.graph import FunctionSpec, GraphSpec
from tests.unit.graph_reference import evaluate


def add(a: Any, b: Any) -> Any:
    return a + b


def module_with(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = types.ModuleType(name)
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def graph_of(*calls: tuple[Any, ...]) -> Graph:
    g = Graph()
    for call in calls:
        g.add(*call)
    return g


@pytest.mark.parametrize(
    ("function", "module", "qualname"),
    [
        (add, __name__, "add"),
        (len, "builtins", "len"),
        (operator.add, "_operator", "add"),
        (np.mean, "numpy", "mean"),
        (int, "builtins", "int"),
    ],
)
def test_what_a_module_exports_travels_by_name(function: Any, module: str, qualname: str) -> None:
    (spec,) = freeze(graph_of((function, [1], *([2] if "add" in qualname else [])))).functions
    assert (spec.module, spec.qualname, spec.pickled) == (module, qualname, b"")
    assert load_function(spec) is function


def test_everything_else_travels_as_a_pickle() -> None:
    factor = 3
    others = [lambda x: factor * x, functools.partial(add, 5), "xyz".index, np.poly1d([1, 0])]
    spec = freeze(graph_of(*((other, "y" if i == 2 else 2) for i, other in enumerate(others))))
    assert all(function.pickled and not function.module for function in spec.functions)
    assert list(evaluate(spec).values()) == [6, 7, 1, 2]


def test_a_function_that_was_replaced_in_its_module_travels_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_with("replaced", "def f(): return 'old'", monkeypatch)
    old = module.f
    exec("def f(): return 'new'", module.__dict__)
    assert list(evaluate(freeze(graph_of((old,), (module.f,)))).values()) == ["old", "new"]


def test_a_module_registered_by_value_travels_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_with("by_value", "def f(x): return x + 1\nclass Box:\n    pass", monkeypatch)
    cloudpickle.register_pickle_by_value(module)
    try:
        spec = freeze(graph_of((module.f, 1), (type, module.Box())))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    monkeypatch.delitem(sys.modules, "by_value")
    values = list(evaluate(spec).values())
    assert values[0] == 2
    assert values[1].__name__ == "Box"


def test_each_callable_travels_once() -> None:
    g = Graph()
    double = lambda x: 2 * x  # noqa: E731
    for i in range(10):
        g.add(double, i)
        g.add(add, i, i)
    spec = freeze(g)
    assert [function.name for function in spec.functions] == ["lambda", "add"]
    assert spec.function == [0, 1] * 10


def test_arguments_of_main_travel_with_their_class() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Box:\n    def __init__(self, value):\n        self.value = value", namespace)
    spec = freeze(graph_of((operator.attrgetter("value"), namespace["Box"](5)), (abs, -1)))
    namespace.clear()
    assert list(evaluate(spec).values()) == [5, 1]


def test_lambdas_and_local_classes_may_be_arguments() -> None:
    assert evaluate(freeze(graph_of((functools.reduce, lambda a, b: a * b, [2, 3, 4])))) == {"reduce-0": 24}


def test_arguments_are_in_blocks_of_consecutive_tasks() -> None:
    n = 2 * BLOCK_SIZE + 3
    spec = freeze(graph_of(*((abs, -i) for i in range(n))))
    assert [len(load_block(block)) for block in spec.blocks] == [BLOCK_SIZE, BLOCK_SIZE, 3]
    assert list(evaluate(spec).values()) == list(range(n))


def test_a_task_whose_arguments_are_its_inputs_needs_no_template() -> None:
    g = Graph()
    a, b = g.add(abs, 1), g.add(abs, 2)
    g.add(add, a, b)
    g.add(add, b, b)
    g.add(sum, [a, b])
    templates = load_block(freeze(g).blocks[0])
    assert templates == [((1,),), ((2,),), None, ((None, None), {}, ((0, 0), (1, 0)), ()), ((None,), {}, ((0, slice(0, 2)),), ())]
    assert bind(templates[4], [7, 8]) == ([[7, 8]], {})


def test_binding_twice_gives_containers_of_their_own() -> None:
    g = Graph()
    a = g.add(abs, 1)
    g.add(add, [a, 0], {"k": [a]})
    template = load_block(freeze(g).blocks[0])[1]
    first, _ = bind(template, [1])
    first[0].append("x")
    first[1]["k"].append("y")
    assert bind(template, [2]) == ([[2, 0], {"k": [2]}], {})


def lock() -> Any:
    return threading.Lock()


@pytest.mark.parametrize(
    ("add_task", "what"),
    [
        (lambda g, node: g.add(add, 1, lock(), name="bad"), r"argument 1 \(counted from 0\) of task 'bad'"),
        (lambda g, node: g.add(add, a=1, b=[lock()], name="bad"), "argument 'b' of task 'bad'"),
        (lambda g, node: g.add(add, node, [node, lock()], name="bad"), r"argument 1 \(counted from 0\) of task 'bad'"),
        (lambda g, node: g.add(add, node, b={"k": (node, lock())}, name="bad"), "argument 'b' of task 'bad'"),
        (
            lambda g, node: g.add(add, types.SimpleNamespace(node=node), 1, name="bad"),
            r"argument 0 \(counted from 0\) of task 'bad'.*is in a place that is not searched for inputs",
        ),
    ],
)
def test_an_argument_that_cannot_be_pickled_is_named(add_task: Any, what: str) -> None:
    g = Graph()
    for i in range(BLOCK_SIZE):
        node = g.add(abs, i)
    add_task(g, node)
    with pytest.raises(NotPicklable, match=what) as caught:
        freeze(g)
    assert caught.value.__cause__ is not None


def test_a_function_that_cannot_be_pickled_is_named() -> None:
    held = lock()
    g = graph_of((abs, 1))
    g.add(lambda: held, name="holds a lock")
    with pytest.raises(NotPicklable, match=r"'lambda' of task 'holds a lock'.*cannot pickle"):
        freeze(g)


def test_an_argument_whose_own_pickling_fails_is_named() -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise RuntimeError("not today")

    with pytest.raises(NotPicklable, match=r"argument 0 .* of task 'abs-0'.*not today"):
        freeze(graph_of((abs, Stubborn())))


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (
            FunctionSpec(name="f", module="no_such_module", qualname="f"),
            r"'f' of module 'no_such_module'.*No module named.*Install the module",
        ),
        (FunctionSpec(name="f", module="operator", qualname="no.such"), r"'no.such' of module 'operator'.*no attribute 'no'"),
        (FunctionSpec(name="f", module="math", qualname="pi"), r"'pi' of module 'math' is not callable here, but float"),
        (FunctionSpec(name="f", pickled=b"cno_such_module\nf\n."), r"'f', sent as a pickle,.*no_such_module.*Install what it imports"),
    ],
)
def test_a_function_that_is_not_there_is_explained(spec: FunctionSpec, what: str) -> None:
    with pytest.raises(FunctionNotFound, match=what) as caught:
        load_function(spec)
    assert isinstance(caught.value, ImportError)


def chain(first: Any, second: Any, argument: Any = 1, **options: Any) -> Any:
    g = Graph("any")
    node: Node = g.add(first, argument)
    g.add(second, node, **options)
    return freeze(g)


def test_the_shape_hash_is_of_topology_and_functions() -> None:
    shape = chain(abs, operator.neg).shape_hash
    assert len(shape) == 64
    assert shape == chain(abs, operator.neg).shape_hash == chain(abs, operator.neg, argument=2, name="mine").shape_hash
    assert shape != chain(abs, abs).shape_hash
    assert shape != chain(operator.neg, abs).shape_hash
    assert shape != freeze(graph_of((abs, 1), (operator.neg, 1))).shape_hash
    asked = Graph()
    node = asked.add(abs, 1)
    asked.output(node, asked.add(operator.neg, node))
    assert shape != freeze(asked).shape_hash


def test_the_content_hash_is_of_arguments_and_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    content = chain(abs, operator.neg).content_hash
    assert content == chain(abs, operator.neg).content_hash
    assert content != chain(abs, operator.neg, argument=2).content_hash

    def hashes(source: str) -> tuple[str, str]:
        spec = chain(module_with("coded", source, monkeypatch).f, operator.neg)
        return spec.shape_hash, spec.content_hash

    before = hashes("def f(x, k=1):\n    return [x + 1 for _ in range(k)]")
    assert hashes("\n\ndef f(x, k=1):\n    return [x + 1 for _ in range(k)]") == before
    for source in ("def f(x, k=1):\n    return [x + 2 for _ in range(k)]", "def f(x, k=2):\n    return [x + 1 for _ in range(k)]"):
        assert hashes(source)[0] == before[0]
        assert hashes(source)[1] != before[1]


def test_a_function_that_got_other_code_or_defaults_has_another_content_hash() -> None:
    def f(x: int) -> int:
        return x + 1

    def g(x: int) -> int:
        return x + 2

    def code() -> bytes:
        return code_bytes(FunctionSpec(name="f", module="m", qualname="f"), f)

    before = code()
    assert code() == before
    f.__defaults__ = (3,)
    assert code() != before
    f.__defaults__ = None
    assert code() == before
    f.__code__ = g.__code__
    assert code() != before


def test_the_topology_that_small_graphs_share_gives_the_same_shape_hash_as_one_of_their_own() -> None:
    spec = freeze(graph_of((abs, -3)))
    own = Topology.from_spec(spec)
    assert own is not Topology.of_one_task()
    assert validate(spec) is Topology.of_one_task()
    assert shape_hash(own, spec.functions) == spec.shape_hash


def test_the_frozen_graph_is_not_changed_by_adding_to_the_graph() -> None:
    g = graph_of((abs, 1))
    spec = freeze(g)
    g.add(abs, 2, name="later", metadata={"a": 1})
    assert evaluate(spec) == {"abs-0": 1}
    assert (spec.n_tasks, spec.names, spec.metadata) == (1, [], [])


def test_an_output_carries_a_value_and_its_metadata() -> None:
    output = Output(3.5, step_id=6, value="name clash is fine")
    assert output.value == 3.5
    assert output.metadata == {"step_id": 6, "value": "name clash is fine"}
    assert repr(Output(1, step=2)) == "Output(1, step=2)"


SCRIPT = """
import sys, msgspec
import headrace as hr
from headrace.graph.freezing import freeze

class Box:
    def __init__(self, value):
        self.value = value

@hr.task
def unpack(box):
    return box.value

@hr.task(outputs=2)
def both(x):
    yield x
    yield unpack(Box(-x))

g = hr.Graph("script")
g.output(both(g.add(unpack, Box(4))))
sys.stdout.buffer.write(msgspec.json.encode(freeze(g)))
"""


def test_what_a_script_defines_runs_in_another_process() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, timeout=60)
    assert evaluate(msgspec.json.decode(done.stdout, type=GraphSpec)) == {"both-1[0]": 4, "both-1[1]": -4}
