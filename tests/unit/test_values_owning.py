"""Which memory only a value refers to, and what its encoding copies."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from headrace.values import decode, encode
from headrace.values.owning import is_own

KEPT = np.arange(20_000.0).reshape(100, 200)


def fresh() -> np.ndarray:
    return np.arange(20_000.0).reshape(100, 200)


OWN = {
    "whole": fresh,
    "part": lambda: fresh()[1:],
    "transposed": lambda: fresh().T,
    "column": lambda: fresh()[:, 0].copy(),
    "part of a part, as another type": lambda: fresh()[2:][2:].view("i8"),
    "in containers": lambda: [fresh(), {"a": fresh()}],
}
SHARED = {
    "whole": lambda: KEPT,
    "part": lambda: KEPT[1:],
    "transposed": lambda: KEPT.T,
    "beside one that is its own": lambda: [KEPT, fresh()],
    "in containers": lambda: {"a": (KEPT[3:],)},
    "another class": lambda: KEPT.view(np.recarray),
}


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_what_nothing_else_refers_to_is_not_copied(make):
    encoded = encode(make())
    before = [np.frombuffer(view, np.uint8).ctypes.data for view in encoded._views]
    encoded.make_own()
    assert [np.frombuffer(view, np.uint8).ctypes.data for view in encoded._views] == before


@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
def test_what_something_else_can_write_to_is_copied(make):
    KEPT[:] = 1
    encoded = encode(make())
    encoded.make_own()
    KEPT[:] = 2
    whole = bytearray(encoded.nbytes)
    encoded.write_into(memoryview(whole))
    KEPT[:] = 1
    assert np.array_equal(*map(_first, (decode(memoryview(whole)), make())))


def _first(value: object) -> np.ndarray:
    while isinstance(value, list | tuple | dict):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return np.asarray(value)


def test_memory_of_others_is_taken_to_be_written_to():
    for other in (bytearray(64), mmap.mmap(-1, 4096)):
        assert not is_own(memoryview(other))
        array = np.frombuffer(other, np.uint8)
        view = memoryview(array)
        del array
        assert not is_own(view)
