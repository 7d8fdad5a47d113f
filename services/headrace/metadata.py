"""Checks of metadata, and its conversion to plain JSON."""

from __future__ import annotations

import math
import sys
from datetime import datetime, timedelta
from typing import Any

from headrace.errors import GraphError

MAX_METADATA = 64 * 1024
"""Largest metadata of one dataset, in bytes of JSON. It travels in messages of up to half a megabyte, twice if both a task and its yield
have some. Larger data belongs in the value."""
MAX_DEPTH = 64
"""Levels of nested dicts and lists, including the metadata itself. Messages add some levels, and services read up to 96."""
MAX_INT, MIN_INT = 2**64 - 1, -(2**63)
"""The integers that both JSON readers and msgpack accept."""
_PLAIN = frozenset({str, bool, type(None)})
_USE = "Use str, int, float, bool, None, dates, times and numpy scalars, and lists and dicts (with str keys) of these"


def check_metadata(metadata: Any, what: str) -> dict[str, Any]:
    """Convert metadata to plain JSON values. `what` names its owner in errors: "task 'load-3'".

    Raises GraphError unless it is a dict with str keys throughout, of values that `plain` accepts, with at most `MAX_DEPTH` levels and
    at most `MAX_METADATA` bytes as JSON.
    """
    import msgspec  # most graphs have no metadata, and are built without it

    if not isinstance(metadata, dict):
        raise GraphError(f"the metadata of {what} is {metadata!r:.80}: give a dict with str keys")
    try:
        checked: dict[str, Any] = plain(metadata)
        size = len(msgspec.json.encode(checked))
    except Exception as error:
        raise GraphError(f"the metadata of {what} cannot be sent as JSON: {error}. {_USE}") from None
    if size > MAX_METADATA:
        raise GraphError(f"the metadata of {what} has {size:,} bytes as JSON, more than {MAX_METADATA:,}: put large data in the value")
    return checked


def plain(value: Any, depth: int = 0) -> Any:
    """Convert a value to str, int, float, bool, None, list and dict. depth: levels of containers around it.

    Numpy scalars and arrays become numbers, text and lists. Dates and times (of Python, numpy, pandas and cftime) become ISO 8601 text,
    timedeltas ISO 8601 durations (PT21600S). msgspec converts sets, enumerations, UUIDs and decimals.

    >>> import numpy as np
    >>> plain({"step": np.int64(6), "valid": np.datetime64("2020-01-01T06", "ns")})
    {'step': 6, 'valid': '2020-01-01T06:00:00'}

    Raises ValueError or TypeError for a value that JSON cannot represent (keys that are not str, infinite numbers, ints of more than 64
    bits, other objects), and for a value that contains itself or has more than `MAX_DEPTH` levels.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        return _finite(float(value) if kind is float else float(str(value)))  # numpy's float64 is a float, and its str is exact
    if isinstance(value, dict):
        _check_depth(depth)
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        _check_depth(depth)
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return _scalar(value, depth)


def _integer(value: int) -> int:
    if not MIN_INT <= value <= MAX_INT:
        raise ValueError("an int has more than 64 bits")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be a number in JSON")
    return value


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r:.80} is not a str")
    return str.__str__(key)


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise ValueError(f"it contains itself, or has more than {MAX_DEPTH} levels of dicts and lists")


def _scalar(value: Any, depth: int) -> Any:
    """Convert a value of another library, or of a type that msgspec knows."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _of_numpy(numpy, value)
    if numpy is not None and hasattr(value, "__array__") and hasattr(value, "ndim"):
        return _of_array(numpy, value, depth)
    if hasattr(value, "isoformat") and value != value:
        raise ValueError("NaT cannot be a time in JSON")
    if isinstance(value, timedelta):
        return _builtin(timedelta(days=value.days, seconds=value.seconds, microseconds=value.microseconds))
    if isinstance(value, datetime) or (hasattr(value, "isoformat") and hasattr(value, "calendar")):
        return value.isoformat().replace("+00:00", "Z")
    return _builtin(value)


def _of_numpy(numpy: Any, value: Any) -> Any:
    if isinstance(value, numpy.datetime64 | numpy.timedelta64) and numpy.isnat(value):
        raise ValueError("NaT cannot be a time in JSON")
    if isinstance(value, numpy.datetime64):
        text = str(value)
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, numpy.timedelta64):
        return _builtin(value.astype("timedelta64[us]").item())
    if isinstance(value, numpy.floating):
        return _finite(float(str(value)))  # the shortest text that is exact: a 32-bit 0.1 becomes 0.1
    if isinstance(value, numpy.bool_ | numpy.integer):
        return plain(value.item())
    raise TypeError(f"a numpy.{type(value).__name__} cannot be represented in JSON")


def _of_array(numpy: Any, value: Any, depth: int) -> Any:
    """Convert an array to the list of its values; one without dimensions, as of xarray's coordinates, to its value."""
    if value.size > MAX_METADATA:
        raise ValueError(f"an array has {value.size:,} values: put large data in the value")
    array = numpy.asarray(value)
    return plain(list(array) if array.ndim else array[()], depth)


def _builtin(value: Any) -> Any:
    import msgspec

    made = msgspec.to_builtins(value)
    if made is value:
        raise TypeError(f"a {type(value).__name__} cannot be represented in JSON")
    return plain(made)
