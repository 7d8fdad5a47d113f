"""Loops that run as machine code where numba is installed, and as plain Python elsewhere, with the same results.

A compiled function takes and returns numbers and columns. `ints` and `floats` make a column: a NumPy array for machine code, a list for
plain Python, whose lists are three times as fast as its arrays are. So compiled code uses nothing of a column but its elements and `len`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

try:
    import numba
except ImportError:
    numba = None

Function = TypeVar("Function", bound=Callable[..., Any])
Column = Any
"""A column that compiled code reads and writes: an array or a list of numbers."""

COMPILED = numba is not None
"""Whether loops run as machine code, about 50 times as fast."""


def _cache_folder() -> str:
    """Return the folder of the machine code that belongs to these sources.

    numba itself looks only at the file of a function, and would go on to use what it compiled with earlier versions of the functions that
    it calls.
    """
    here = Path(__file__).parent
    digest = sha256(b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))).hexdigest()
    return str(Path(numba.config.CACHE_DIR or here / "__pycache__") / f"numba-{digest[:16]}")


CACHE_FOLDER = _cache_folder() if COMPILED else ""


def compiled(function: Function) -> Function:
    """Compile a function when it is first called. The machine code is cached in a folder that numba can write to, if there is one."""
    if not COMPILED:
        return function
    given, numba.config.CACHE_DIR = numba.config.CACHE_DIR, CACHE_FOLDER
    try:
        return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # no folder to cache it in
        return cast(Function, numba.njit(nogil=True, error_model="numpy")(function))
    finally:
        numba.config.CACHE_DIR = given


def _int_list(n: int, value: int) -> Column:
    return [value] * n


def _float_list(n: int, value: float) -> Column:
    return [value] * n


def _int_array(n: int, value: int) -> Column:
    return np.full(n, value, np.int64)


def _float_array(n: int, value: float) -> Column:
    return np.full(n, value, np.float64)


ints = compiled(_int_array) if COMPILED else _int_list
"""Make a column of integers: `ints(length, value)`."""
floats = compiled(_float_array) if COMPILED else _float_list
"""Make a column of floats: `floats(length, value)`."""


def int_column(values: Sequence[int] | npt.NDArray[Any]) -> Column:
    """Return integers as compiled code takes them."""
    array = np.ascontiguousarray(values, dtype=np.int64)
    return array if COMPILED else array.tolist()


def float_column(values: Sequence[float] | npt.NDArray[Any]) -> Column:
    """Return floats as compiled code takes them."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    return array if COMPILED else array.tolist()
