"""The places of outputs: names that every file system accepts, patterns, temporary names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import GraphError
from headrace.sinks.places import ENDING, MOST_BYTES, Named, Writer, parse, part_of, place, safe

NAMED = Named("k3v7", "march", "steps[3]", {"param": "2t", "step": 6, "hour": 0.5})


@given(st.text())
def test_a_safe_name_is_one_part_of_a_path(text: str) -> None:
    name = safe(text)
    assert re.fullmatch(r"(?!\.)[A-Za-z0-9_.~+=,@()%-]+", name)
    assert len(name.encode()) <= MOST_BYTES


@given(st.lists(st.text(max_size=12), unique=True, max_size=30))
def test_different_names_stay_different(names: list[str]) -> None:
    assert len(set(map(safe, names))) == len(names)


@given(st.text(min_size=1, max_size=4), st.integers(40, 300))
def test_long_names_stay_different(tail: str, count: int) -> None:
    assert safe("é" * count + tail) != safe("é" * count)
    assert not re.search(r"%(?![0-9A-F]{2})", safe("é" * count + tail))


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("out", "out/steps%5B3%5D"),
        ("out/", "out/steps%5B3%5D"),
        ("out/v1.2", "out/v1.2/steps%5B3%5D"),
        ("out/{param}", "out/2t/steps%5B3%5D"),
        ("s3://b/{job}/{param}-{step:03d}", "s3://b/k3v7/2t-006/steps%5B3%5D"),
        ("out/{param}-{step:03d}.npy", "out/2t-006.npy"),
        ("out/{graph}/x{name}", "out/march/xsteps%5B3%5D"),
        ("out/{name}/", "out/steps%5B3%5D/steps%5B3%5D"),
        ("out/result.npy", "out/result.npy"),
        ("out/result.npy/", "out/result.npy/steps%5B3%5D"),
        ("out/{{{hour}}}.dat", "out/{0.5}.dat"),
    ],
)
def test_a_path_is_a_folder_or_a_file(path: str, location: str) -> None:
    assert place(path, NAMED) == location


@pytest.mark.parametrize("path", ["out/{", "out/{}", "out/{0}", "out/{name.x}", "out/{name[0]}", "out/{name!r}", "out/{step:{x}}", "/", ""])
def test_what_is_no_pattern_is_refused(path: str) -> None:
    with pytest.raises(GraphError, match="sink"):
        parse(path)


def test_a_key_without_metadata_names_output_and_what_there_is() -> None:
    with pytest.raises(GraphError, match=r"'steps\[3\]' has no metadata 'level'.*'hour', 'param', 'step'"):
        place("out/{level}", NAMED)
    with pytest.raises(GraphError, match="is a list"):
        place("out/{x}", NAMED._replace(metadata={"x": [1]}))
    with pytest.raises(GraphError, match="does not fit"):
        place("out/{param:03d}", NAMED)


@given(st.text(), st.text(), st.text())
def test_metadata_makes_no_folders(param: str, name: str, job: str) -> None:
    location = place("out/{param}/{job}-{name}.npy", Named(job, "g", name, {"param": param}))
    assert location.count("/") == 2
    assert ENDING.search(location)
    assert not any(part in (".", "..", "") for part in location.split("/"))


def writers() -> st.SearchStrategy[Writer]:
    small = st.integers(0, 3)
    return st.builds(Writer, st.sampled_from(["j1", "j2"]), small, small, st.sampled_from(["a", "b"]), small.map(str))


@given(st.lists(writers(), unique=True), st.sampled_from(["m.npy", "x" * 230, "年" * 80]))
def test_no_two_writers_have_one_temporary_name(writers: list[Writer], name: str) -> None:
    parts = {part_of(f"s3://b/{name}", writer) for writer in writers}
    assert len(parts) == len(writers)
    assert all(part.startswith("s3://b/.") and len(part.rpartition("/")[2].encode()) <= 255 for part in parts)
