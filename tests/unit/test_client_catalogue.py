"""The catalogue finds outputs by their metadata."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from headrace.client.catalogue import Catalogue, having
from headrace_schemas import Output, Published

RECORDS = [
    {"param": "2t", "step": 0, "levels": [1, 2]},
    {"param": "2t", "step": 6, "accumulated": True},
    {"param": "10u", "step": 1, "time": "2026-03-01T00:00:00Z"},
    {"param": None},
]


def published(job: str, **metadata: dict[str, Any]) -> Published:
    outputs = [Output(dataset=int(key[1:]), name=key, metadata=value) for key, value in metadata.items()]
    return Published(at=1, term=1, job=job, outputs=outputs)


@pytest.fixture
def catalogue() -> Catalogue:
    catalogue = Catalogue()
    catalogue.add_announcement(published("a", o2=RECORDS[2], o0=RECORDS[0]))
    catalogue.add_announcement(published("b", o3=RECORDS[3]))
    catalogue.add_announcement(published("a", o1=RECORDS[1]))
    return catalogue


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, "0 1 2 3"),
        ({"param": "2t"}, "0 1"),
        ({"param": "2t", "step": 6}, "1"),
        ({"step": [0, 1, 7]}, "0 2"),
        ({"step": range(2)}, "0 2"),
        ({"step": 6.0}, "1"),
        ({"step": np.int64(6)}, "1"),
        ({"step": "6"}, ""),
        ({"step": True}, ""),
        ({"accumulated": True}, "1"),
        ({"accumulated": 1}, ""),
        ({"levels": [1, 2]}, "0"),
        ({"levels": (1, 2)}, "0"),
        ({"levels": 1}, ""),
        ({"time": datetime(2026, 3, 1, tzinfo=UTC)}, "2"),
        ({"param": None}, "3"),
        ({"missing": None}, ""),
        ({"param": []}, ""),
    ],
)
def test_records_are_found_by_equal_metadata(catalogue: Catalogue, wanted: dict[str, Any], names: str) -> None:
    expected = [f"o{name}" for name in names.split()]
    assert [record.name for record in catalogue.find(having(None, wanted))] == expected
    assert [record.name for record in catalogue.find(having(wanted, {}))] == expected


def test_the_first_announcement_of_an_output_counts(catalogue: Catalogue) -> None:
    catalogue.add_announcement(published("a", o0={"param": "other"}))
    assert len(catalogue) == 4
    assert catalogue.find(having(None, {"param": "other"})) == []


def test_a_record_says_what_was_announced() -> None:
    catalogue = Catalogue()
    output = Output(dataset=4, name="x", metadata={"a": 1}, host="h", bytes=800, location="/x.npy", checksum="sha256:0", encoding="npy",
                    dtype="float64", shape=[2, 5])  # fmt: skip
    catalogue.add_announcement(Published(at=1, term=1, job="j", outputs=[output]))
    (record,) = catalogue.find(lambda record: True)
    assert (record.name, record.job, record.dataset, record.metadata, record.host, record.bytes) == ("x", "j", 4, {"a": 1}, "h", 800)
    assert (record.location, record.checksum, record.encoding) == ("/x.npy", "sha256:0", "npy")
    assert (record.dtype, record.shape) == ("float64", (2, 5))
