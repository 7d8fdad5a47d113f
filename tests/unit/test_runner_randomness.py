"""Random numbers of tasks: which functions reach a generator, and what their tasks draw."""

from __future__ import annotations

import copy
import functools
import math
import operator
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.graph.freezing import freeze
from headrace.runner.randomness import randomness
from headrace.runner.waiting import Suspended

HASH, OTHER_HASH = "ab12", "ab13"
GENERATOR = np.random.default_rng(1)
LEGACY = np.random.RandomState(1)
PYTHONS = random.Random(1)
NESTED = {"all": [np.random.default_rng(2)]}


class Model:
    def __init__(self) -> None:
        self.generator = np.random.default_rng(3)

    def draw(self) -> float:
        return float(self.generator.normal())

    def __call__(self) -> float:
        return self.draw()


def add(x: int, y: int) -> int:
    return x + y


def by_name() -> float:
    return float(np.random.normal())


def through_another() -> float:
    return by_name()


def in_an_inner_function() -> float:
    return next(random.random() for _ in range(1))


def imported_inside() -> float:
    from numpy.random import normal

    return float(normal())


def from_a_global() -> float:
    return float(GENERATOR.normal())


def from_a_nested_global() -> float:
    return float(NESTED["all"][0].normal())


def from_a_default(generator: np.random.RandomState = LEGACY) -> float:
    return float(generator.normal())


@hr.task
def decorated() -> float:
    return by_name()


def through_a_task() -> float:
    return float(decorated())


@functools.lru_cache(maxsize=0)
def cached() -> float:
    return by_name()


def through_a_cache() -> float:
    return cached()


def from_a_closure() -> Callable[[], float]:
    own = np.random.default_rng(4)
    return lambda: float(own.normal())


def hidden() -> float:
    """What it draws from is named nowhere in it."""
    module = __import__("".join(("nu", "mpy")))
    return float(getattr(getattr(module, "ran" + "dom"), "nor" + "mal")())


DRAWING: dict[str, Callable[..., Any]] = {
    "np.random.normal": np.random.normal,
    "np.random.randint": functools.partial(np.random.randint, 10**9),
    "random.random": random.random,
    "random.gauss": functools.partial(random.gauss, 0, 1),
    "a Generator's": np.random.default_rng(5).normal,
    "a RandomState's": np.random.RandomState(5).normal,
    "a Philox's": np.random.Generator(np.random.Philox(5)).normal,
    "a Random's": random.Random(5).random,
    "a method of an object": Model().draw,
    "a callable object": Model(),
    "a partial's argument": functools.partial(operator.methodcaller("normal"), np.random.default_rng(6)),
    **{
        function.__name__: function
        for function in (by_name, through_another, in_an_inner_function, imported_inside, from_a_global, from_a_nested_global)
    },
    "through a task": through_a_task,
    "through a cache": through_a_cache,
    "a cached function": cached,
    "vectorized": functools.partial(np.vectorize(lambda _: random.random(), otypes=[float]), 1),
    "from a default": from_a_default,
    "from a closure": from_a_closure(),
}


def draws(function: Callable[..., Any], tasks: list[int], graph: str = HASH, of: int = 1) -> list[Any]:
    """What a new runner's tasks of a function return: it has a copy of the function, and other things were drawn there before."""
    found = randomness(function, graph, renewed=False)
    assert found is not None
    np.random.random(tasks[0])
    results = []
    for task in tasks:
        found.begin(task, function)
        results.append([float(function()) for _ in range(of)])
        found.end()
    return results


@pytest.mark.parametrize("name", DRAWING)
def test_tasks_draw_other_numbers_each_and_the_same_ones_again(name: str) -> None:
    function = DRAWING[name]
    first = draws(function, list(range(20)), of=3)
    assert len({number for drawn in first for number in drawn}) == 60
    assert draws(function, [7, 3], of=3) == [first[7], first[3]]
    assert draws(function, [7], OTHER_HASH) != [first[7]]


@pytest.mark.parametrize("name", DRAWING)
def test_the_first_task_of_a_function_is_no_exception(name: str) -> None:
    """What it draws from is found in its code, and not only seen afterwards."""
    found = randomness(DRAWING[name], HASH, renewed=False)
    assert found is not None
    assert found._reached


@pytest.mark.parametrize("function", [add, operator.add, len, math.sqrt, np.add, np.mean, functools.partial(np.mean, axis=0), lambda x: x])
def test_what_reaches_no_generator_costs_nothing(function: Callable[..., Any]) -> None:
    assert randomness(function, HASH, renewed=False) is None


def test_a_function_whose_code_does_not_tell_is_watched() -> None:
    assert draws(hidden, [1, 2, 3]) == draws(hidden, [1]) + draws(hidden, [2]) + draws(hidden, [3])


def test_what_draws_nothing_is_not_seeded_more_than_once() -> None:
    def unknown(text: str) -> str:
        return text.strip()

    found = randomness(unknown, HASH, renewed=False)
    assert found is not None
    found.begin(0, unknown)
    found.end()
    drawn, expected = np.random.random(), copy.deepcopy(np.random.mtrand._rand).random()
    found.begin(1, unknown)
    found.end()
    assert drawn != np.random.random() == expected


@pytest.mark.parametrize("name", ["np.random.normal", "random.random", "a Generator's", "a RandomState's", "through_another"])
def test_a_generator_task_goes_on_where_it_was(name: str) -> None:
    function = DRAWING[name]
    expected = draws(function, [1], of=4)[0]
    found = randomness(function, HASH, renewed=False)
    assert found is not None
    suspended = Suspended(None, iter(()))  # type: ignore[arg-type]
    found.begin(1, function)
    drawn = []
    for _ in range(4):
        found.resume(suspended)
        drawn.append(function())
        found.suspend(suspended)
        draws(function, [2])
    assert drawn == expected


def test_a_function_that_is_made_anew_has_its_generator_seeded() -> None:
    def make() -> Callable[[], Any]:
        return functools.partial(operator.methodcaller("normal"), np.random.default_rng(6))

    found = randomness(make(), HASH, renewed=True)
    assert found is not None
    numbers = []
    for task in (1, 2, 1):
        function = make()
        found.begin(task, function)
        numbers.append(function())
    assert numbers[0] == numbers[2] != numbers[1]


class Holder:
    def __init__(self, generator: Any) -> None:
        self.generator = generator


@pytest.mark.parametrize(
    "make", [np.random.default_rng, np.random.RandomState, np.random.PCG64, random.Random], ids=lambda make: str(make.__name__)
)
@pytest.mark.parametrize("wrap", [lambda g: g, lambda g: [g], lambda g: {"a": (g,)}, Holder, lambda g: functools.partial(print, g)])
def test_a_generator_that_several_tasks_are_given_is_refused(make: Callable[[], Any], wrap: Callable[[Any], Any]) -> None:
    graph, generator = hr.Graph("shared"), make()
    graph.add(print, wrap(generator), name="first")
    freeze(graph)
    graph.add(print, 1, wrap(generator), name="second")
    with pytest.raises(hr.GraphError, match=r"'first' and 'second' are given the same random generator.*rng.spawn"):
        freeze(graph)


def test_each_task_may_be_given_a_generator_of_its_own() -> None:
    graph, generator = hr.Graph("own"), np.random.default_rng(1)
    for own in (*generator.spawn(3), copy.deepcopy(generator)):
        graph.add(print, own, own)
    graph.add(print, np.random.SeedSequence(1), "random", "numpy.random")
    freeze(graph)
