"""Values are written to files and read back, in memory."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
from hypothesis import given
from hypothesis.extra import numpy as npst

from headrace.errors import GraphError, MissingLibrary
from headrace.sinks import encodings
from headrace.sinks.encodings import ENCODINGS, encoding_for
from headrace.sinks.places import Named
from headrace.sinks.sink import Sink
from headrace.sinks.writing import about, encoding_of
from headrace_schemas import SinkSpec

ARRAY = np.arange(12.0).reshape(3, 4)


class Forward(io.RawIOBase):
    """A file that can only be written forward."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)

    def tell(self) -> int:
        return len(self.data)


def there_and_back(value: Any, encoding: str) -> Any:
    file = Forward()
    ENCODINGS[encoding].write(value, file)  # type: ignore[arg-type]
    return ENCODINGS[encoding].read(memoryview(bytes(file.data)))


def test_encodings_go_by_type() -> None:
    assert encoding_for(ARRAY) == encoding_for(np.float32(1)[...]) == "npy"
    assert encoding_for({"a": ARRAY}) == encoding_for((ARRAY, ARRAY)) == encoding_for([ARRAY]) == "npz"
    assert encoding_for(xr.Dataset()) == encoding_for(xr.DataArray(ARRAY)) == "nc"
    assert encoding_for(pd.DataFrame()) == encoding_for(pa.table({})) == encoding_for(pl.DataFrame()) == "parquet"
    others = (
        None,
        3,
        "x",
        {},
        [],
        (),
        {"a": 1},
        {1: ARRAY},
        [ARRAY, 1],
        np.float64(2),
        np.ma.array(ARRAY),
        np.array([None]),
        pd.Series([1]),
    )
    assert {encoding_for(value) for value in others} == {"pickle"}


@given(npst.arrays(npst.scalar_dtypes() | npst.array_dtypes(), npst.array_shapes(min_dims=0, min_side=0)))
def test_arrays_of_every_type_and_shape(array: np.ndarray) -> None:
    back = there_and_back(array, "npy")
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert there_and_back({"é/x.npy": array}, "npz")["é/x.npy"].tobytes() == array.tobytes()


def test_arrays_of_every_order_are_read_only_views() -> None:
    for array in (ARRAY.T, ARRAY[::2, ::-1], np.asfortranarray(ARRAY), ARRAY[:0]):
        back = there_and_back(array, "npy")
        np.testing.assert_array_equal(back, array)
        assert not back.flags.writeable
    assert np.load(io.BytesIO(write(ARRAY, "npy"))).tolist() == ARRAY.tolist()


def write(value: Any, encoding: str) -> bytes:
    file = Forward()
    ENCODINGS[encoding].write(value, file)  # type: ignore[arg-type]
    return bytes(file.data)


@pytest.mark.parametrize("value", [{"a": ARRAY, "b c": ARRAY.T}, (ARRAY, ARRAY[0]), [ARRAY]])
def test_several_arrays_come_back_in_what_they_stood_in(value: Any) -> None:
    back = there_and_back(value, "npz")
    assert type(back) is type(value)
    pairs = zip(back.values(), value.values(), strict=True) if isinstance(value, dict) else zip(back, value, strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert len(np.load(io.BytesIO(write(value, "npz")))) == len(value)


@pytest.mark.parametrize("encoding", ["parquet", "arrow"])
def test_tables_come_back_as_what_they_were(encoding: str) -> None:
    frame = pd.DataFrame({"t": [1.5, 2.5], "name": ["a", None]}, index=pd.Index([7, 9], name="step"))
    pd.testing.assert_frame_equal(there_and_back(frame, encoding), frame)
    table = pa.table({"x": [1, 2]}, metadata={"k": "v"})
    assert there_and_back(table, encoding).equals(table, check_metadata=True)
    assert there_and_back(pl.DataFrame({"x": [1, None]}), encoding).equals(pl.DataFrame({"x": [1, None]}))
    with pytest.raises(TypeError, match="not a table"):
        there_and_back(3, encoding)


def test_anything_else_is_pickled_with_what_no_module_exports() -> None:
    assert there_and_back(lambda x: x + 1, "pickle")(2) == 3
    back = there_and_back({"a": [None, float("inf"), 2**80], "b": ARRAY}, "pickle")
    assert back["a"] == [None, float("inf"), 2**80]


def test_a_library_that_is_not_there_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    frame = pd.DataFrame({"x": [1]})
    monkeypatch.setattr(encodings, "import_module", import_module)
    with pytest.raises(MissingLibrary, match=r"pyarrow is needed .* not installed.*headrace\[parquet\]"):
        there_and_back(frame, "parquet")


METADATA = {
    "param": "2t",
    "step": 6,
    "levels": [1, 2],
    "scale": 0.5,
    "title": "given",
    "ok": True,
    "none": None,
    "nested": {"a": [1, "x"]},
    "empty": [],
    "mixed": [1, 0.5],
    "most": 2**64 - 1,
    "a/b c": "x",
    "coordinates": "x",
    "_FillValue": 3,
}


@pytest.mark.parametrize("array", [True, False])
def test_netcdf_says_whose_output_it_is_and_reads_as_what_was_given(array: bool) -> None:
    field = xr.DataArray([1.0, 2.0], dims="x", name="t", attrs={"units": "K"})
    value = field if array else xr.Dataset({"t": field}, attrs={"title": "own"})
    encoding = ENCODINGS["nc"]
    assert encoding.describe is not None
    with tempfile.NamedTemporaryFile(suffix=".nc") as file:
        encoding.write(encoding.describe(value, about(Named("k3v7", "march", "mean[0]", METADATA))), file)
        found = xr.load_dataset(file.name).attrs
        back = encoding.read(memoryview(Path(file.name).read_bytes()))
    assert (found["headrace_job"], found["headrace_task"], found["param"], found["step"]) == ("k3v7", "mean[0]", "2t", 6)
    assert (list(found["levels"]), found["scale"], found["ok"], found["none"]) == ([1, 2], 0.5, "true", "null")
    assert (found["nested"], found["most"], found["metadata_a_b_c"]) == ('{"a": [1, "x"]}', str(2**64 - 1), "x")
    assert found["title"] == ("given" if array else "own")
    xr.testing.assert_identical(back, value)


def test_an_ending_that_is_no_format_is_refused_when_the_sink_is_given() -> None:
    for path in ("out/{name}.grib2", "fields.zarr", "s3://a/{step}.csv", "out.products"):
        with pytest.raises(GraphError, match=r"ends in \..*, which is not a known format: use the extension \.npy, .*encoder=\), or"):
            Sink(path)
        assert Sink(path, encoding="npy")
        assert Sink(path, encoder=print)
    for path in ("out", "v1.2", "out.products/", "{name}", "x.NC", "x.pkl"):
        assert Sink(path)
    with pytest.raises(GraphError, match=r"ends in \.grib2"):  # of a client that did not check
        encoding_of(SinkSpec(path="out/{name}.grib2"), ARRAY)


def test_a_value_that_is_no_dataset_cannot_be_netcdf() -> None:
    with pytest.raises(TypeError, match=r"a ndarray cannot be written as netCDF: give an xarray\.Dataset"):
        there_and_back(np.zeros(3), "nc")


def test_xarray_without_a_library_for_netcdf_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    array = xr.DataArray([1.0])
    monkeypatch.setattr(encodings, "find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=r"none of netCDF4.*headrace\[netcdf\]"):
        there_and_back(array, "nc")
