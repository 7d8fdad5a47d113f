"""Values that pass from task to task inside one process are isolated from their readers and their producer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from headrace.values import NotPicklable, decode, encode, is_immutable, pass_on, read, renewable, settle
from headrace_shm import Arena, Heap, Slab


class Point(NamedTuple):
    x: int
    names: list[str]


class Plain:
    def __init__(self, field: Any) -> None:
        self.field = field


def kept(make: Callable[[], Any]) -> Any:
    """What is kept of a value, of which the caller holds nothing."""
    holder = {7: pass_on(make())}
    settle(holder, 7)
    return holder[7]


def address(array: Any) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


VALUES: dict[str, Callable[[], Any]] = {
    "int": lambda: 5,
    "text": lambda: "text",
    "tuple": lambda: (1, ("a", None, np.float32(3))),
    "array": lambda: np.arange(2000.0),
    "no array": lambda: np.zeros(0),
    "slice": lambda: np.arange(2000.0)[5:],
    "slice with gaps": lambda: np.arange(2000.0)[::2],
    "transposed": lambda: np.arange(2000.0).reshape(20, 100).T,
    "number of dimension 0": lambda: np.array(5.0),
    "times": lambda: np.arange(5).astype("M8[s]"),
    "objects": lambda: np.array([[1], "a"], object),
    "structured": lambda: np.zeros(5, [("a", "i4"), ("b", "f8")]),
    "one structured": lambda: np.zeros(1, [("a", "i4")])[0],
    "masked": lambda: np.ma.masked_greater(np.arange(5.0), 3),
    "list": lambda: [1, [2, np.arange(2000.0)]],
    "dict": lambda: {"a": {"b": [np.zeros(3)]}},
    "named tuple": lambda: Point(1, ["a"]),
    "ordered": lambda: OrderedDict(a=[1]),
    "bytearray": lambda: bytearray(b"abc"),
    "set": lambda: {1, 2},
    "object": lambda: Plain([np.arange(2000.0)]),
    "frame": lambda: pd.DataFrame({"a": np.arange(2000.0), "b": ["x"] * 2000}),
    "series": lambda: pd.Series(np.arange(2000.0)),
    "field": lambda: xr.DataArray(np.arange(2000.0), dims="x", attrs={"unit": "K"}),
    "dataset": lambda: xr.Dataset({"t": ("x", np.arange(2000.0))}),
    "function": lambda: lambda x: x + 1,
}


def arrays(value: Any) -> list[Any]:
    """The arrays in a value."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, Plain):
        return arrays(value.field)
    if isinstance(value, pd.DataFrame):
        return [value["a"].to_numpy()]
    if isinstance(value, pd.Series):
        return [value.to_numpy()]
    if isinstance(value, xr.DataArray):
        return [value.data]
    if isinstance(value, xr.Dataset):
        return [value["t"].data]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [array for item in items for array in arrays(item)]


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_read_as_if_it_had_come_from_another_process(name: str) -> None:
    there, here = decode(encode(VALUES[name]()).tobytes()), read(kept(VALUES[name]))
    assert type(here) is type(there)
    assert [array.flags.writeable for array in arrays(here)] == [array.flags.writeable for array in arrays(there)]
    assert repr(here) == repr(there) or name in ("object", "function")


@pytest.mark.parametrize("name", [name for name in VALUES if name not in ("int", "text", "tuple")])
def test_each_reader_has_a_value_of_its_own(name: str) -> None:
    value = kept(VALUES[name])
    assert read(value) is not read(value)


def test_what_nothing_can_change_is_passed_as_it_is() -> None:
    value = (1, "a", (None, b"b", 2.5, np.int16(4), np.datetime64("2020-01-01")))
    assert is_immutable(value)
    assert read(kept(lambda: value)) is value
    assert not any(map(is_immutable, [[1], (1, [2]), {}, Point(1, []), bytearray(), np.zeros(1, "i4,i4")[0], np.zeros(2)]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.zeros(2000),
        lambda: np.zeros(2000)[5:],
        lambda: np.zeros((20, 100)).T,
        lambda: {"a": np.zeros(2000)},
        lambda: Plain(np.zeros(2000)),
        lambda: pd.DataFrame({"a": np.zeros(2000)}),
        lambda: xr.DataArray(np.zeros(2000)),
    ],
)
def test_an_array_that_only_the_value_refers_to_is_not_copied(make: Callable[[], Any]) -> None:
    value = make()
    place = address(arrays(value)[0])
    holder = {0: pass_on(value)}
    del value
    settle(holder, 0)
    assert address(arrays(read(holder[0]))[0]) == place


@pytest.mark.parametrize(
    ("make", "keep"),
    [
        (lambda: np.zeros(2000), lambda value: value),
        (lambda: np.zeros(2000), lambda value: value[5:]),
        (lambda: np.zeros(2000), memoryview),
        (lambda: np.zeros(2000)[5:], lambda value: value.base),
        (lambda: np.zeros((20, 100)).T, lambda value: value.base),
        (lambda: [np.zeros(2000)], lambda value: value[0]),
        (lambda: Plain(np.zeros(2000)), lambda value: value.field[3:]),
        (lambda: np.frombuffer(bytearray(2000), np.uint8), lambda value: value.base),
        (lambda: np.zeros(2000)[5:].view(), lambda value: value),
    ],
)
def test_an_array_that_its_producer_keeps_is_copied(make: Callable[[], Any], keep: Callable[[Any], Any]) -> None:
    value = make()
    producers = keep(value)
    holder = {0: pass_on(value)}
    del value
    settle(holder, 0)
    np.asarray(producers)[...] = 1
    assert arrays(read(holder[0]))[0].max() == 0


def test_a_read_only_view_of_what_its_producer_writes_to_is_copied() -> None:
    own = np.zeros(2000)
    view = own.view()
    view.setflags(write=False)
    holder = {0: pass_on(view)}
    del view
    settle(holder, 0)
    own[0] = 1
    assert read(holder[0])[0] == 0


def test_an_input_that_is_passed_on_is_not_copied() -> None:
    message = encode(np.zeros(2000)).tobytes()
    holder = {0: pass_on(decode(message)[5:])}
    settle(holder, 0)
    assert address(read(holder[0])) == address(decode(message)[5:])
    again = {0: pass_on(read(holder[0])[5:])}
    settle(again, 0)
    assert address(read(again[0])) == address(decode(message)[10:])


@pytest.mark.parametrize("keeps", [False, True])
def test_an_array_of_the_hosts_store_is_copied_only_if_its_producer_keeps_it(keeps: bool) -> None:
    arena = Arena.create(1 << 20)
    heap = Heap(arena, lambda nbytes: Slab(1, 0, nbytes), lambda _: None)
    array = heap.empty(20_000)
    producers, place = array if keeps else None, address(array)
    holder = {0: pass_on(array)}
    del array
    settle(holder, 0)
    assert (address(read(holder[0])) == place) is (producers is None)


def test_no_reader_can_make_an_array_writeable() -> None:
    for make in (lambda: np.zeros(9), lambda: np.zeros(9)[1:], lambda: [np.zeros(9)]):
        with pytest.raises(ValueError, match="WRITEABLE"):
            arrays(read(kept(make)))[0].setflags(write=True)


def test_what_cannot_leave_its_process_cannot_be_passed_on() -> None:
    for value in (threading.Lock(), [threading.Lock()], (_ for _ in ())):
        with pytest.raises(NotPicklable, match=r"cannot be pickled"):
            pass_on(value)


def test_classes_and_functions_in_a_renewed_value_are_shared() -> None:
    class Local:
        pass

    def local() -> None: ...

    field = np.zeros(3)
    passed = renewable(([Local()], local, Local, field, field))
    assert passed is not None
    first, second = passed.fresh(), passed.fresh()
    assert type(first[0][0]) is Local
    assert first[0][0] is not second[0][0]
    assert first[1:3] == (local, Local)
    assert first[3] is first[4]
    assert not first[3].flags.writeable
