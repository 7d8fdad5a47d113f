"""Functions that a runner loads once for all jobs: which ones qualify, and what jobs see of one another."""

from __future__ import annotations

import linecache
import math
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.graph.freezing import freeze
from headrace.runner.job import RunnerJob
from headrace.runner.stateless import is_stateless


def define(source: str, file: str = "/script.py") -> Any:
    """The function `f` of a script."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": "__main__", "math": math, "np": np, "FACTOR": 3, "seen": []}
    exec(compile(source, file, "exec"), namespace)
    return namespace["f"]


def loaded(function: Any) -> Any:
    """What a runner calls for the function in a new job."""
    graph = hr.Graph("g")
    graph.add(function, *[1] * function.__code__.co_argcount)
    spec = freeze(graph)
    return RunnerJob(1, spec).functions[0].load(spec.content_hash)


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return x + 1",
        "def f(x, y=2):\n    return max(x, y) * FACTOR",
        "def f(x):\n    return [abs(each) for each in (lambda y: (y,))(x)]",
    ],
)
def test_a_function_of_arguments_modules_and_constants_is_loaded_once(source: str) -> None:
    function = define(source)
    assert is_stateless(function)
    assert loaded(function) is loaded(function)


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    seen.append(x)\n    return len(seen)",
        "def f(x):\n    global FACTOR\n    FACTOR += x\n    return FACTOR",
        "def f(x):\n    def g():\n        global FACTOR\n        FACTOR = 0\n    return g()",
        "def f(x, seen=[]):\n    seen.append(x)\n    return len(seen)",
        "def f(x, *, seen=[]):\n    return seen",
        "def f(x):\n    return f.__name__",
        "def make():\n    n = 0\n    def f(x):\n        nonlocal n\n        n += 1\n        return n\n    return f\nf = make()",
        "def f(x):\n    return x\nf.calls = []",
    ],
)
def test_a_function_that_can_keep_something_is_loaded_for_each_job(source: str) -> None:
    function = define(source)
    assert not is_stateless(function)
    assert loaded(function) is not loaded(function)


@pytest.mark.parametrize("call", ["np.random.normal()", "math.sqrt(x)"])
def test_a_function_that_may_draw_random_numbers_is_loaded_for_each_job(call: str) -> None:
    function = define(f"def f(x):\n    return {call}")
    assert is_stateless(function)
    assert loaded(function) is not loaded(function)


def test_a_job_does_not_see_what_an_earlier_one_changed() -> None:
    function = define("def f(x):\n    global FACTOR\n    FACTOR += 1\n    return FACTOR")
    assert [loaded(function)(1), loaded(function)(1)] == [4, 4]


def test_equal_code_of_another_file_names_its_own_file() -> None:
    source = "def f(x):\n    return x / 0"
    first, second = define(source, "/first.py"), define(source, "/second.py")
    files = [loaded(function).__code__.co_filename for function in (first, second, second, first)]
    assert files == ["/first.py", "/second.py", "/second.py", "/first.py"]
