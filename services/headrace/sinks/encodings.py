"""Formats: how a value is written to a file and read back.

Each encoding is an entry of `ENCODINGS`. An optional library is imported only for a value of its types, or for a file in its format.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import IO, Any, NamedTuple

import numpy as np

from headrace.errors import MissingLibrary
from headrace.pickling import by_value
from headrace.sinks.endings import ENDINGS

KIND = "headrace"
"""Key in a file's own metadata with the kind of the value, where a format holds more than one kind."""
TABLE, PANDAS, POLARS = "pyarrow", "pandas", "polars"
NETCDF_LIBRARIES = ("netCDF4", "h5netcdf", "scipy")
"""Libraries for netCDF; xarray needs one of them."""
ADDED = f"{KIND}_attributes"
"""Attribute of a netCDF file: JSON list of the attributes that Headrace added to the dataset's own."""
NETCDF_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.@+-]*")
"""Names of attributes that every reader of netCDF accepts."""
DEFAULT_VARIABLE = "__xarray_dataarray_variable__"
"""xarray's name of the variable of an array without a name."""


class Encoding(NamedTuple):
    """A format. ending: the extension of its files.

    write: writes a value to a file that is only written forward, or, if it `seeks`, to a file on a local disk.
    read: returns the value of a whole file; the value may keep using that memory.
    describe: adds attributes to the value, for the file; `read` removes them again.
    """

    ending: str
    write: Callable[[Any, IO[bytes]], object]
    read: Callable[[memoryview], Any]
    seeks: bool = False
    describe: Callable[[Any, dict[str, Any]], Any] | None = None


def encoding_for(value: Any) -> str:
    """Return the name of the encoding for a value of this type.

    >>> encoding_for(np.zeros(3)), encoding_for({"a": np.zeros(3)}), encoding_for([1, "x"])
    ('npy', 'npz', 'pickle')
    """
    if _is_plain(value):
        return "npy"
    if _are_arrays(value):
        return "npz"
    if _is_of("xarray", ("Dataset", "DataArray"), value):
        return "nc"
    if _table_kind(value):
        return "parquet"
    return "pickle"


def _is_plain(value: Any) -> bool:
    return type(value) in (np.ndarray, np.memmap) and not value.dtype.hasobject


def _are_arrays(value: Any) -> bool:
    if type(value) is dict:
        return bool(value) and all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    return type(value) in (tuple, list) and bool(value) and all(map(_is_plain, value))


def _is_of(module: str, names: tuple[str, ...], value: Any) -> bool:
    """Return whether the value is of one of a module's classes; no value is of a module that is not imported."""
    found = sys.modules.get(module)
    return found is not None and isinstance(value, tuple(kind for name in names if (kind := getattr(found, name, None)) is not None))


def _table_kind(value: Any) -> str:
    """Return the kind of table that a value is; empty if it is not a table."""
    kinds = {PANDAS: "DataFrame", TABLE: "Table", POLARS: "DataFrame"}
    return next((module for module, name in kinds.items() if _is_of(module, (name,), value)), "")


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingLibrary(
            f"{package} is needed for this, but is not installed: pip install 'headrace[{extra}]' on every host and client"
        ) from error


# --- arrays -----------------------------------------------------------------------------------------------------------


def _write_npy(value: Any, file: IO[bytes]) -> None:
    """Write in pieces: numpy copies up to 16 MiB at a time, never the whole array."""
    np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)


def _read_npy(data: memoryview) -> np.ndarray[Any, Any]:
    """Return a read-only view of the file's bytes, except for rare headers that numpy has no public function to read."""
    head = BytesIO(data[: 1 << 20])
    version = np.lib.format.read_magic(head)
    if version > (2, 0):
        array = np.lib.format.read_array(BytesIO(data), allow_pickle=False)
    else:
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(head)
        array = np.ndarray(shape, dtype, data, head.tell(), order="F" if fortran else "C")
    array.flags.writeable = False
    return array


def _write_npz(value: Any, file: IO[bytes]) -> None:
    """Write as numpy.savez does, with a comment that names the container of the arrays."""
    items = value.items() if isinstance(value, dict) else ((f"arr_{place}", array) for place, array in enumerate(value))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = type(value).__name__.encode()
        for name, array in items:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_npy(array, member)


def _read_npz(data: memoryview) -> Any:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        arrays = {name.removesuffix(".npy"): _read_npy(memoryview(archive.read(name))) for name in archive.namelist()}
        made: Callable[[Any], Any] | None = {b"tuple": tuple, b"list": list}.get(archive.comment)
    return made(arrays.values()) if made is not None else arrays


# --- xarray -----------------------------------------------------------------------------------------------------------


def _xarray() -> Any:
    """Import xarray, if it can read and write netCDF. Its own error for a missing library is an ordinary ValueError."""
    if not any(map(find_spec, NETCDF_LIBRARIES)):
        raise MissingLibrary(
            f"none of {', '.join(NETCDF_LIBRARIES)} is installed, which xarray needs for netCDF: "
            "pip install 'headrace[netcdf]' on every host and client"
        )
    return _library("xarray", "netcdf")


def _write_nc(value: Any, file: IO[bytes]) -> None:
    if not _is_of("xarray", ("Dataset", "DataArray"), value):
        raise TypeError(f"a {type(value).__name__} cannot be written as netCDF: give an xarray.Dataset or xarray.DataArray")
    xarray = _xarray()
    (_as_dataset(value) if isinstance(value, xarray.DataArray) else value).to_netcdf(file.name, mode="w")


def _as_dataset(array: Any) -> Any:
    """Return a dataset with the array as its one variable, and what is needed to make it an array again."""
    taken = {*array.coords, *array.dims}
    name = array.name if isinstance(array.name, str) and array.name and array.name not in taken else DEFAULT_VARIABLE
    own = array.name if isinstance(array.name, str) else ""
    return array.to_dataset(name=name).assign_attrs({KIND: name, f"{KIND}_name": own})


def _describe_nc(value: Any, about: dict[str, Any]) -> Any:
    """Add attributes to a dataset, and a list of them. Values of types that netCDF does not have become JSON."""
    if not _is_of("xarray", ("Dataset", "DataArray"), value):
        return value
    dataset = _as_dataset(value) if _is_of("xarray", ("DataArray",), value) else value
    added = {_attribute_name(key): _attribute(item) for key, item in about.items()}
    added = {name: item for name, item in added.items() if name not in dataset.attrs}
    return dataset.assign_attrs({**added, ADDED: json.dumps(list(added))})


def _attribute_name(key: str) -> str:
    return key if NETCDF_NAME.fullmatch(key) and key != "coordinates" else "metadata_" + re.sub(r"[^A-Za-z0-9_.@+-]", "_", key)


def _attribute(value: Any) -> Any:
    """Return an attribute's value for netCDF: a number, text, a list of numbers, or else JSON."""
    kinds = {type(item) for item in value} if isinstance(value, list) else {type(value)}
    if kinds == {int} and all(abs(item) < 2**63 for item in (value if isinstance(value, list) else [value])):
        return value
    return value if kinds == {float} or type(value) is str else json.dumps(value)


def _read_nc(data: memoryview) -> Any:
    xarray = _xarray()
    with tempfile.NamedTemporaryFile(suffix=".nc") as file:
        file.write(data)
        file.flush()
        dataset = xarray.load_dataset(file.name)
    for added in json.loads(dataset.attrs.pop(ADDED, "[]")):
        dataset.attrs.pop(added, None)
    name = dataset.attrs.pop(KIND, None)
    if name is None:
        return dataset
    array = dataset[name]
    array.name = dataset.attrs.get(f"{KIND}_name") or None
    return array


# --- tables -----------------------------------------------------------------------------------------------------------


def _as_table(value: Any) -> Any:
    """Return an Arrow table that records the type it was made from."""
    pyarrow = _library("pyarrow", "parquet")
    kind = _table_kind(value)
    if not kind:
        raise TypeError(f"a {type(value).__name__} is not a table: give a data frame of pandas or polars, or a pyarrow.Table")
    table = pyarrow.Table.from_pandas(value) if kind == PANDAS else value.to_arrow() if kind == POLARS else value
    return table.replace_schema_metadata({**(table.schema.metadata or {}), KIND.encode(): kind.encode()})


def _from_table(table: Any) -> Any:
    metadata = dict(table.schema.metadata or {})
    kind = metadata.pop(KIND.encode(), b"").decode()
    table = table.replace_schema_metadata(metadata or None)
    if kind == PANDAS:
        _library("pandas", "parquet")
        return table.to_pandas()
    return _library("polars", "parquet").from_arrow(table) if kind == POLARS else table


def _write_parquet(value: Any, file: IO[bytes]) -> None:
    table = _as_table(value)
    _library("pyarrow.parquet", "parquet").write_table(table, file)


def _read_parquet(data: memoryview) -> Any:
    parquet = _library("pyarrow.parquet", "parquet")
    return _from_table(parquet.read_table(_library("pyarrow", "parquet").BufferReader(data)))


def _write_arrow(value: Any, file: IO[bytes]) -> None:
    table = _as_table(value)
    with _library("pyarrow.ipc", "parquet").new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read_arrow(data: memoryview) -> Any:
    return _from_table(_library("pyarrow.ipc", "parquet").open_file(data).read_all())


# --- anything ---------------------------------------------------------------------------------------------------------


def _write_pickle(value: Any, file: IO[bytes]) -> None:
    """Pickle the value. Objects that no module exports (classes of a script, lambdas) are pickled by value, as in results."""
    by_value.dump(value, file)


ENCODINGS = {
    "npy": Encoding(ENDINGS["npy"], _write_npy, _read_npy),
    "npz": Encoding(ENDINGS["npz"], _write_npz, _read_npz),
    "nc": Encoding(ENDINGS["nc"], _write_nc, _read_nc, seeks=True, describe=_describe_nc),
    "parquet": Encoding(ENDINGS["parquet"], _write_parquet, _read_parquet),
    "arrow": Encoding(ENDINGS["arrow"], _write_arrow, _read_arrow),
    "pickle": Encoding(ENDINGS["pickle"], _write_pickle, pickle.loads),
}
"""The encodings by name."""
