"""What metadata can travel."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import GraphError
from headrace.graph.checks import MAX_METADATA, check_metadata


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"step": 6, "param": "2t", "levels": [1.5, None, True], "nested": {"a": {"b": (1, 2)}}},
        {"least": -(2**63), "most": 2**64 - 1},
        {"text": "x" * (MAX_METADATA - len('{"text":""}'))},
    ],
)
def test_what_json_and_msgpack_carry_is_metadata(metadata: dict[str, Any]) -> None:
    assert check_metadata(metadata, "task 'a'") is metadata


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ([1], "is a dict with str keys, not"),
        ({1: 2}, "the key 1 is no str"),
        ({"a": [{"b": {2: 3}}]}, "the key 2 is no str"),
        ({"a": 2**64}, "more than 64 bits"),
        ({"a": [-(2**63) - 1]}, "more than 64 bits"),
        ({"a": float("nan")}, "nan is no number in JSON"),
        ({"a": object()}, "cannot be sent as JSON: .*object"),
        ({"a": "\ud800"}, "cannot be sent as JSON"),
        ({"text": "x" * MAX_METADATA}, r"has 65,547 bytes as JSON, more than 65,536"),
        (nested(10**5), "nested too deep"),
    ],
)
def test_anything_else_is_refused_and_says_whose_it_is(metadata: Any, why: str) -> None:
    with pytest.raises(GraphError, match=f"the metadata of task 'a' .*{why}"):
        check_metadata(metadata, "task 'a'")
