"""Files of sinks: written, committed, read back and verified, in a local folder and in a store that is not a file system."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pytest
import xarray as xr

import headrace as hr
from headrace.errors import CorruptOutput, SinkFailed
from headrace.sinks import files
from headrace.sinks.places import Named, Writer
from headrace.sinks.reading import read
from headrace.sinks.writing import OpenSink
from headrace_schemas import SinkSpec, Written

NAMED = Named("j", "g", "mean", {"param": "2t"})
WRITER = Writer("j", 4, 1, "alpha", "7")
ARRAY = np.arange(3_000_000.0).reshape(3, -1)


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A local folder, and an object store that has neither renames nor folders."""
    if request.param == "local":
        yield str(tmp_path / "out")
    else:
        yield "memory://out"
        fsspec.filesystem("memory").store.clear()


def save(path: str, value: Any, writer: Writer = WRITER, **options: Any) -> Written:
    return OpenSink(SinkSpec(path=path, **options)).write(value, NAMED, writer)


def commit(written: Written) -> None:
    files.commit(written.part, written.location, {}, files.Receipt(written.bytes, written.checksum))


def read_back(written: Written) -> Any:
    return read(written.location, written.bytes, written.checksum, written.encoding, {})


def names(folder: str) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in fsspec.url_to_fs(folder)[0].find(fsspec.url_to_fs(folder)[1]))


def test_a_part_is_written_committed_and_read(folder: str) -> None:
    written = save(f"{folder}/{{param}}", ARRAY)
    assert written.location == f"{folder}/2t/mean.npy"
    assert (written.encoding, written.dtype, written.shape) == ("npy", "float64", [3, 1_000_000])
    assert names(f"{folder}/2t") == [".mean.npy.j-4-1-alpha-7.part"]
    commit(written)
    assert names(f"{folder}/2t") == ["mean.npy"]
    with fsspec.open(written.location, "rb") as file:
        assert f"sha256:{hashlib.sha256(file.read()).hexdigest()}" == written.checksum
    np.testing.assert_array_equal(read_back(written), ARRAY)


def test_an_older_file_is_replaced(folder: str) -> None:
    for attempt, value in enumerate(("old", "new")):
        commit(written := save(folder, value, WRITER._replace(attempt=attempt)))
        assert read_back(written) == value
    assert names(folder) == ["mean.pickle"]


def test_what_was_committed_before_is_found_to_be(folder: str) -> None:
    commit(written := save(folder, ARRAY))
    commit(written)
    files.remove(written.location, {})
    with pytest.raises(files.NotThere, match=r"is missing.*no file .*mean\.npy"):
        commit(written)
    other = save(folder, "other", encoding="npz", encoder=pickled(lambda value, file: file.write(b"x" * written.bytes)))
    commit(other)
    same_size = Written(**{f: getattr(written, f) for f in written.__struct_fields__} | {"location": other.location})
    with pytest.raises(files.NotThere, match="another file"):
        commit(same_size)


def pickled(function: Any) -> bytes:
    import cloudpickle

    return cloudpickle.dumps(function)


def test_a_part_that_was_cut_short_is_not_committed(folder: str) -> None:
    written = save(folder, ARRAY)
    with fsspec.open(written.part, "wb") as file:
        file.write(b"short")
    with pytest.raises(files.NotThere, match=f"5 bytes, and {written.bytes}"):
        commit(written)


def test_a_file_that_was_changed_is_not_read(folder: str) -> None:
    commit(written := save(folder, ARRAY))
    with fsspec.open(written.location, "rb") as file:
        data = file.read()
    for changed, what in ((data[:-1] + b"x", "checksum"), (data[:-1], "bytes"), (data + b"x", "more than")):
        with fsspec.open(written.location, "wb") as file:
            file.write(changed)
        with pytest.raises(CorruptOutput, match=what):
            read_back(written)
    files.remove(written.location, {})
    with pytest.raises(FileNotFoundError):
        read_back(written)


def test_an_encoder_of_the_users_may_search_in_its_file(folder: str) -> None:
    def encode(value: str, file: IO[bytes]) -> None:
        file.write(b"....")
        file.write(value.encode())
        file.seek(0)
        file.write(b"HEAD")

    written = save(folder, "grib", encoding="grib2", encoder=pickled(encode))
    commit(written)
    found = read_back(written)
    assert isinstance(found, hr.SinkFile)
    assert found.location == f"{folder}/mean.grib2"
    assert bytes(found.read()) == b"HEADgrib"


@pytest.mark.parametrize(
    "value",
    [
        xr.Dataset({"t": ("x", [1.0, 2.0])}, coords={"x": [10, 20]}, attrs={"title": "means"}),
        xr.DataArray(ARRAY[:, :5], dims=("y", "x"), name="t2m", attrs={"units": "K"}),
        xr.DataArray([1, 2], dims="x", coords={"x": [5, 6]}, name="x"),
        xr.DataArray(3.5),
    ],
)
def test_xarray_objects_come_back_as_they_were(folder: str, value: Any) -> None:
    written = save(folder, value)
    assert written.location.endswith("/mean.nc")
    commit(written)
    back = read_back(written)
    assert type(back) is type(value)
    xr.testing.assert_identical(back, value)


def test_what_fails_leaves_nothing_and_names_output_and_place(folder: str) -> None:
    def encode(value: object, file: IO[bytes]) -> None:
        file.write(b"some")
        raise OSError(28, "No space left on device")

    for seeks in ({"encoder": pickled(encode)}, {"encoding": "npy"}):
        with pytest.raises(SinkFailed, match=r"output 'mean' cannot be written to .*mean") as caught:
            save(folder, object(), **seeks)
        assert caught.value.__cause__ is not None
    assert names(folder) == []


def test_a_large_array_is_written_without_a_second_copy(tmp_path: Path) -> None:
    """Peak memory of a process that writes 200 MB: the array, and little else."""
    code = f"""
import resource, numpy as np
from headrace.sinks.places import Named, Writer
from headrace.sinks.writing import OpenSink
from headrace_schemas import SinkSpec
array = np.ones(25_000_000)
sink = OpenSink(SinkSpec(path={str(tmp_path)!r}))
sink.write(np.ones(2), Named("j", "g", "warm", {{}}), Writer("j", 0, 0, "a", "1"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sink.write(array, Named("j", "g", "x", {{}}), Writer("j", 0, 0, "a", "2"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    more = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=dict(os.environ)).stdout)
    assert more < 50_000, f"{more} KiB more than before"


def test_what_dead_writers_left_is_swept_up_and_what_is_gone_is_no_error(folder: str) -> None:
    """An object store has no folder any more when its last file is removed."""
    place = f"{folder}/swept"
    for attempt in range(2):
        save(place, "left", WRITER._replace(attempt=attempt))
    other = save(place, "another job's", WRITER._replace(job="k")).part
    files.sweep(place, "j", {})
    assert names(place) == [other.rpartition("/")[2]]
    system, path = files.open_system(place, {})
    system.rm(path, recursive=True)
    files.sweep(place, "j", {})
