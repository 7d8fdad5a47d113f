"""Type and shape of values that are one array."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MAX_DTYPE = 500
"""Longest name of a dtype, in characters. Structured types with longer names are described by their values alone."""

BUFFERED_KINDS = frozenset("biufcSUV")
"""Kinds of dtypes whose arrays pickle can keep out of band. Times and objects are not among them."""


class ArrayType(NamedTuple):
    """The type of an array (numpy's name of its dtype) and its shape."""

    dtype: str
    shape: list[int]


def array_type(value: Any) -> ArrayType | None:
    """Return dtype and shape of a value that is one array; None for scalars and other values.

    Recognises arrays of numpy and similar libraries (xarray, pandas).

    >>> import numpy as np
    >>> array_type(np.zeros((2, 3), "f4"))
    ArrayType(dtype='float32', shape=[2, 3])
    >>> array_type(5) is array_type(np.float64(5)) is None
    True
    """
    try:
        shape = getattr(value, "shape", None)
        if not isinstance(shape, tuple) or isinstance(value, np.generic):
            return None
        dtype = str(value.dtype)
        return ArrayType(dtype, [int(length) for length in shape]) if len(dtype) <= MAX_DTYPE else None
    except Exception:  # not an array, or an attribute of a user's class raised
        return None


def without_gaps(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array that pickle can keep out of band, so that its readers get it read-only like most arrays. A slice with gaps is copied.

    >>> without_gaps(np.arange(6)[::2]).flags.c_contiguous
    True
    """
    return array if array.flags.forc or array.dtype.kind not in BUFFERED_KINDS else np.ascontiguousarray(array)
