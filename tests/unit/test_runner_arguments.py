"""A task's arguments, at a runner: as they were given, whatever other tasks and earlier attempts did to theirs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import headrace as hr
from headrace.graph.freezing import freeze
from headrace.graph.functions import load_function
from headrace.graph.templates import bind
from headrace.runner.arguments import Arguments, renewed_partial
from headrace.runner.failures import TaskFailure


class Pair(NamedTuple):
    left: Any
    right: Any


class Once:
    """Is pickled as something that cannot be pickled."""

    def __reduce__(self) -> Any:
        return iter, ([1, 2],), None, None, None


class Unreadable:
    def __reduce__(self) -> Any:
        return int, ("no number",)


def arguments(*calls: tuple[Any, ...], **kwargs: Any) -> Arguments:
    """Of tasks that are called so; task 0 has none."""
    graph = hr.Graph("g")
    node = graph.add(dict)
    for call in calls:
        graph.add(take, *_with(node, call), **kwargs)
    return Arguments(freeze(graph))


def take(*_: Any, **__: Any) -> None:
    """Takes any arguments."""


def _with(node: Any, values: Any) -> list[Any]:
    """The values with the node in place of the module `hr`."""
    if all(value is not hr and type(value) is not list for value in values):
        return values  # type: ignore[no-any-return]
    return [node if value is hr else _with(node, value) if type(value) is list else value for value in values]


def call(found: Arguments, task: int, *inputs: Any) -> Any:
    args, kwargs = bind(found.template(task), list(inputs))
    return [*args, *kwargs.values()]


SHARED: list[Any] = ["a", "b"]


@pytest.mark.parametrize(
    "given",
    [SHARED, {"k": 1}, {"k": SHARED}, {(1, 2): "v"}, (1, SHARED), Pair(1, SHARED), {3}, bytearray(b"ab"), Path("x"), [[[]]]],
    ids=lambda given: type(given).__name__,
)
def test_what_can_be_changed_is_new_for_each_attempt_and_each_task(given: Any) -> None:
    found = arguments((given,), (given,))
    seen = [call(found, task)[0] for task in (1, 1, 2)]
    assert seen == [given] * 3
    assert len({id(value) for value in seen}) == 3


def test_what_was_changed_is_not_seen() -> None:
    found = arguments((SHARED, hr), ([SHARED, hr],), ([hr, hr],))
    for _ in range(2):
        first, second, third = call(found, 1, 7), call(found, 2, 7), call(found, 3, 7)
        assert (first, second, third) == ([["a", "b"], 7], [[["a", "b"], 7]], [[7, 7]])
        first[0].clear()
        second[0][0].clear()
        third[0].clear()


def test_keyword_arguments_too() -> None:
    found = arguments((1,), (2,), names=SHARED)
    call(found, 1)[1].pop()
    assert call(found, 1) == [1, ["a", "b"]]
    assert call(found, 2) == [2, ["a", "b"]]


def test_one_object_in_two_arguments_of_a_task_is_one_object() -> None:
    field = np.zeros(3)
    first, second, (third, array), fourth = call(arguments((SHARED, SHARED, [SHARED, field], field)), 1)
    assert first is second is third
    assert array is fourth


def test_lists_of_what_nothing_can_change_are_each_tasks_own_also_twice_or_beside_others() -> None:
    found = arguments((SHARED, SHARED), (SHARED, 1, {"a": 1}), (SHARED, [SHARED]), ([hr, 1], SHARED))
    first, second = call(found, 1)
    assert first is second
    for task, *inputs in ((1,), (2,), (3,), (4, 7)):
        for _ in range(2):
            seen = call(found, task, *inputs)
            assert seen[0 if task != 4 else 1] == ["a", "b"]
            for given in seen:
                if type(given) in (list, dict):
                    given.clear()


def test_arrays_are_read_only_and_not_copied_for_each_task() -> None:
    field = np.zeros(1000)
    found = arguments((field,), ([field],))
    first, second = call(found, 1)[0], call(found, 1)[0]
    assert first.__array_interface__["data"][0] == second.__array_interface__["data"][0]
    with pytest.raises(ValueError, match="read-only"):
        first += 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        call(found, 2)[0][0].setflags(write=True)


def test_what_nothing_can_change_is_shared() -> None:
    text = "long " * 1000
    found = arguments((1, 2.5, text, b"b", None, (1, (2, text)), len, print, int), (text,))
    assert all(one is other for one, other in zip(call(found, 1), call(found, 1), strict=True))
    assert call(found, 1)[2] is call(found, 2)[0]


def test_what_cannot_be_pickled_twice_is_unpickled_anew_with_its_block() -> None:
    found = arguments((Once(),), (Once(),))
    for task in (1, 1, 2):
        assert list(call(found, task)[0]) == [1, 2]


def test_an_argument_that_cannot_be_read_is_the_failure_of_the_task() -> None:
    with pytest.raises(TaskFailure) as caught:
        arguments((Unreadable(),), (1,)).template(2)
    assert isinstance(caught.value.error, ValueError)
    assert caught.value.doing == "while the arguments of 'dict-0' to 'take-2' were unpickled in the runner"


def test_arguments_of_a_partial_are_arguments() -> None:
    assert renewed_partial(partial(int, base=2)) is None
    assert renewed_partial(len) is None
    given = partial(SHARED.__class__.__add__, ["a"])
    renewed = renewed_partial(load_function(freeze(one(given)).functions[0]))
    assert renewed is not None
    renewed.fresh().args[0].append("b")
    assert renewed.fresh()(["c"]) == ["a", "c"]


def one(function: Any) -> hr.Graph:
    graph = hr.Graph("one")
    graph.add(function, ["c"])
    return graph
