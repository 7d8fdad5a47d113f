"""The metadata that can be sent."""

from __future__ import annotations

import datetime
import enum
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from headrace.errors import GraphError
from headrace.graph.output import Output
from headrace.metadata import MAX_DEPTH, MAX_METADATA, check_metadata, plain


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
    checked = check_metadata(metadata, "task 'a'")
    assert checked == msgspec.json.decode(msgspec.json.encode(metadata))
    assert checked is not metadata


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ([1], "give a dict with str keys"),
        ({1: 2}, "the key 1 is not a str"),
        ({"a": [{"b": {2: 3}}]}, "the key 2 is not a str"),
        ({"a": 2**64}, "more than 64 bits"),
        ({"a": [-(2**63) - 1]}, "more than 64 bits"),
        ({"a": float("nan")}, "nan cannot be a number in JSON"),
        ({"a": object()}, "cannot be sent as JSON: .*object"),
        ({"a": "\ud800"}, "cannot be sent as JSON"),
        ({"text": "x" * MAX_METADATA}, r"has 65,547 bytes as JSON, more than 65,536"),
        ({"a": nested(MAX_DEPTH - 1)}, "more than 64 levels"),
        (nested(10**5), "more than 64 levels"),
        ({"a": np.float32("inf")}, "inf cannot be a number in JSON"),
        ({"a": np.datetime64("NaT")}, "NaT cannot be a time"),
        ({"a": pd.NaT}, "NaT cannot be a time"),
        ({"a": np.complex64(1)}, "complex64 cannot be represented in JSON"),
        ({"a": np.zeros(10**6)}, "an array has 1,000,000 values"),
    ],
)
def test_anything_else_is_refused_and_says_whose_it_is(metadata: Any, why: str) -> None:
    with pytest.raises(GraphError, match=f"the metadata of task 'a' .*{why}"):
        check_metadata(metadata, "task 'a'")


class Level(enum.IntEnum):
    TOP = 3


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (np.int64(6), 6),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.5), 0.5),
        (np.float32(0.1), 0.1),
        (np.float64(0.1), 0.1),
        (np.float16(0.1), 0.1),
        (np.bool_(True), True),
        (np.str_("2t"), "2t"),
        (Level.TOP, 3),
        (np.datetime64("2020-01-01"), "2020-01-01"),
        (np.datetime64("2020-01-01T06", "ns"), "2020-01-01T06:00:00"),
        (np.datetime64("2020-01-01T06:00:00.5", "ns"), "2020-01-01T06:00:00.5"),
        (pd.Timestamp("2020-01-01T06"), "2020-01-01T06:00:00"),
        (pd.Timestamp("2020-01-01T06", tz="UTC"), "2020-01-01T06:00:00Z"),
        (datetime.datetime(2020, 1, 1), "2020-01-01T00:00:00"),
        (datetime.date(2020, 1, 1), "2020-01-01"),
        (np.timedelta64(6, "h"), "PT21600S"),
        (pd.Timedelta("6h"), "PT21600S"),
        (np.array(6), 6),
        (np.arange(3), [0, 1, 2]),
        (xr.DataArray(np.datetime64("2020-01-01", "ns")), "2020-01-01T00:00:00"),
        ((1, np.int8(2)), [1, 2]),
        ({np.str_("a"): np.int8(2)}, {"a": 2}),
        (nested(MAX_DEPTH - 2), nested(MAX_DEPTH - 2)),
    ],
)
def test_values_of_other_libraries_become_the_json_that_they_mean(value: Any, json: Any) -> None:
    checked = check_metadata({"a": value}, "task 'a'")
    assert repr(checked) == repr({"a": json})
    assert msgspec.json.decode(msgspec.json.encode(checked)) == {"a": json}
    assert plain(value) == json


def test_metadata_is_checked_when_an_output_is_made() -> None:
    assert Output(1, step=np.int64(6)).metadata == {"step": 6}
    with pytest.raises(GraphError, match=r"metadata of an hr\.Output cannot be sent as JSON"):
        Output(1, step=object())
