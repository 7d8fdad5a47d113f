"""Type and shape of values that are one array."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from headrace.values import array_type


class Lazy:
    """Says its shape only when it is computed."""

    shape = (3, float("nan"))
    dtype = "float64"


class Touchy:
    """Takes no questions."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


ARRAYS = [
    (np.zeros((2, 0, 3), "f4"), ("float32", [2, 0, 3])),
    (np.array(5), ("int64", [])),
    (np.array(["ab"]), ("<U2", [1])),
    (np.ma.masked_array([1.0, 2.0]), ("float64", [2])),
    (xr.DataArray(np.zeros((2, 3)), dims=("y", "x")), ("float64", [2, 3])),
    (pd.Series([1, 2]), ("int64", [2])),
]
OTHERS = [None, 5, np.float64(5), "text", [np.zeros(3)], {"a": np.zeros(3)}, pd.DataFrame({"a": [1]}), xr.Dataset(), Lazy(), Touchy(), int,
          np.zeros(1, [(f"a field with a long name {n}", "f8") for n in range(30)])]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), ARRAYS)
def test_arrays_of_numpy_and_alike_have_type_and_shape(value: Any, expected: tuple[str, list[int]]) -> None:
    assert array_type(value) == expected


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: type(value).__name__)
def test_everything_else_has_none(value: Any) -> None:
    assert array_type(value) is None
