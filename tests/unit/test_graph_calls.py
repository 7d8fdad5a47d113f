"""Calls that cannot work are refused when the node is made."""

from __future__ import annotations

import collections
import copy
import functools
import json
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from headrace.client.nested import datasets_in
from headrace.errors import GraphError
from headrace.graph.builder import Graph
from headrace.graph.task import delayed, task


def two(a: Any, b: Any) -> Any:
    return a, b


def some(a: Any, b: Any = 1, *, c: Any = 2, **rest: Any) -> Any:
    return a, b, c, rest


def keyword(*, a: Any) -> Any:
    return a


@functools.wraps(two)
def injecting(b: Any) -> Any:
    return two(1, b)


class Thing:
    def method(self, a: Any) -> Any:
        return a

    def __call__(self, a: Any) -> Any:
        return a


async def coroutine(a: Any) -> Any:
    return a


async def generator(a: Any) -> Any:
    yield a


class Async:
    async def __call__(self) -> None:
        return

    async def method(self) -> None:
        return


RIGHT: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (two, (1, 2), {}),
    (two, (1,), {"b": 2}),
    (some, (1,), {}),
    (some, (1, 2), {"c": 3, "d": 4}),
    (keyword, (), {"a": 1}),
    (injecting, (1,), {}),
    (functools.partial(two, 1), (2,), {}),
    (functools.cache(two), (1, 2), {}),
    (Thing().method, (1,), {}),
    (Thing(), (1,), {}),
    (Thing, (), {}),
    (max, (1, 2), {"key": abs}),
    (range, (1, 2, 3), {}),
    (dict, (), {"a": 1}),
    (np.add, (1, 2), {}),
    (np.mean, ([1],), {"axis": 0}),
    (operator.itemgetter(1), ([1, 2],), {}),
    (json.dumps, (1,), {"indent": 1}),
    (np.vectorize(two), (1, 2), {}),
    (lambda *a: a, (1, 2, 3), {}),
]
WRONG: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (two, (1,), {}, r"cannot call 'two' with these arguments: missing a required argument: 'b'. It is two\(a, b\)"),
    (two, (1, 2, 3), {}, "too many positional arguments"),
    (two, (1,), {"a": 2}, "multiple values for argument 'a'"),
    (two, (1,), {"c": 2}, "missing a required argument: 'b'"),
    (keyword, (1,), {}, "too many positional arguments"),
    (keyword, (), {}, "missing a required .*argument: 'a'"),
    (injecting, (1, 2), {}, "too many positional arguments"),
    (functools.partial(two, 1), (2, 3), {}, "too many positional arguments"),
    (functools.cache(two), (1,), {}, "missing a required argument: 'b'"),
    (Thing().method, (), {}, "missing a required argument: 'a'"),
    (Thing(), (1, 2), {}, "too many positional arguments"),
    (operator.add, (1,), {}, "missing a required argument"),
    (lambda: 1, (1,), {}, "too many positional arguments"),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), RIGHT)
def test_a_call_that_works_is_taken(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    function(*args, **kwargs)
    g = Graph()
    for _ in range(2):
        g.add(function, *args, **kwargs)
        delayed(function)(*args, **kwargs)
    assert len(g) == 2


@pytest.mark.parametrize(("function", "args", "kwargs", "why"), WRONG)
def test_a_call_that_cannot_work_is_refused(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError):
        function(*args, **kwargs)
    g = Graph()
    for _ in range(2):
        with pytest.raises(GraphError, match=why):
            g.add(function, *args, **kwargs)
        with pytest.raises(GraphError, match=why):
            delayed(function)(*args, **kwargs)
    assert len(g) == 0


@pytest.mark.parametrize(
    "function", [coroutine, generator, functools.partial(coroutine, 1), Async(), Async().method, functools.cache(coroutine)]
)
def test_an_async_function_is_refused(function: Callable[..., Any]) -> None:
    for make in (Graph().add, task):
        with pytest.raises(GraphError, match=r"is an async function, which a task cannot await.*asyncio\.run"):
            make(function)


@pytest.mark.parametrize(
    "make", [lambda node: {node}, lambda node: collections.OrderedDict(a=node), lambda node: collections.deque([(node,)])]
)
def test_nodes_in_other_containers_are_refused(make: Callable[[Any], Any]) -> None:
    g = Graph()
    node = g.add(abs, 1)
    hidden = make(node)
    kind = type(hidden).__name__
    with pytest.raises(GraphError, match=f"an argument is a {kind} with nodes in it, which is not searched for nodes. Give a list"):
        g.add(len, hidden)
    with pytest.raises(GraphError, match=f"a {kind} with nodes"):
        g.add(len, [{"a": hidden}])
    with pytest.raises(TypeError, match=f"compute finds nodes in lists, .* not in a {kind}: give one of these"):
        datasets_in([hidden])
    g.add(len, make(1))
    assert datasets_in([make(1)]) == []


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (copy.copy, "cannot be copied, because it stands for one task. Use it several times"),
        (copy.deepcopy, "cannot be copied"),
        (lambda node: node + 1, "has no value before the graph runs, and cannot be calculated with: do it in a task"),
        (lambda node: 2 * node, "cannot be calculated with"),
        (lambda node: np.float64(2) * node, "cannot be calculated with"),
        (lambda node: np.zeros(3) - node, "cannot be calculated with"),
        (lambda node: -node, "cannot be calculated with"),
        (lambda node: node < 1, "cannot be calculated with"),
        (float, "cannot be calculated with"),
        (np.mean, "cannot be made an array"),
        (lambda node: node == 1, "cannot be compared"),
        (lambda node: node != "x", "cannot be compared"),
        (lambda node: node in [1], "cannot be compared"),
        (bool, "neither true nor false before the graph runs"),
    ],
)
def test_a_node_is_no_value(use: Callable[[Any], Any], why: str) -> None:
    g = Graph()
    several = g.add(two, 1, 2, outputs=2, name="pair")
    for node, name in ((g.add(abs, 1, name="n"), "task 'n'"), (several[0], r"dataset 'pair\[0\]'")):
        with pytest.raises(TypeError, match=f"{name} .*{why}"):
            use(node)


def test_nodes_are_equal_to_themselves_only() -> None:
    g = Graph()
    one, pair = g.add(abs, 1), g.add(two, 1, 2, outputs=2)
    assert one == one
    assert one != pair
    assert one != pair[0]
    assert pair[0] == pair[0] != pair[1]
    assert one != None  # noqa: E711
    assert len({one, pair, pair[0], pair[0], pair[1]}) == 4
