"""Nodes inside the arguments of `compute`."""

from __future__ import annotations

from typing import Any, NamedTuple

import headrace.graph.task as graph_task
from headrace.client.nested import datasets_in, with_values


@graph_task.task
def one(value: int) -> int:
    return value


@graph_task.task(outputs=3)
def three(value: int) -> list[int]:
    return [value] * 3


class Pair(NamedTuple):
    left: Any
    right: Any


def test_every_dataset_is_found_once_in_order() -> None:
    a, b = one.delay(1), three.delay(2)
    found = datasets_in([a, {"k": (b[1], a)}, b, 5, "text"])
    assert found == [a, b[1], b[0], b[2]]


def test_values_take_the_places_of_nodes() -> None:
    a, b = one.delay(1), three.delay(2)
    values: dict[Any, Any] = {a: 10, b[0]: 20, b[1]: 21, b[2]: 22}
    item = {"x": [a, b], "y": Pair(b[1], "same")}
    assert with_values(item, values) == {"x": [10, [20, 21, 22]], "y": Pair(21, "same")}
    assert type(with_values(item, values)["y"]) is Pair


def test_a_single_node_gives_a_single_value() -> None:
    a = one.delay(1)
    assert datasets_in(a) == [a]
    assert with_values(a, {a: 1}) == 1
