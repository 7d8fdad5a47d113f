"""A value that is encoded around its array, in place, equals one that is copied."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import headrace as hr
from headrace.values import decode, encode, making

ROOM = 4096
dtypes = hnp.integer_dtypes() | hnp.floating_dtypes() | hnp.boolean_dtypes() | hnp.array_dtypes()
arrays_of_all_kinds = hnp.arrays(dtypes, hnp.array_shapes(min_dims=1, max_dims=3, max_side=5))


def born(values, order="C"):
    """The same array at the end of a buffer, behind some room, and that buffer."""
    memory = np.full(ROOM + values.nbytes, 0xAA, np.uint8)
    array = np.ndarray(values.shape, values.dtype, memory[ROOM:], order=order)
    array[...] = values
    return array, memory


@given(arrays_of_all_kinds, st.sampled_from(["C", "F"]), st.sampled_from([lambda a: a, lambda a: (1, a), lambda a: {"t": a, "level": 5}]))
@settings(max_examples=100, deadline=None)
def test_it_is_read_back_the_same(values, order, wrap):
    array, memory = born(values, order)
    encoded = encode(wrap(array))
    if encoded.only_buffer is None:  # pickled in band: of a kind that pickle does not take out
        return
    assert encoded.write_before(memoryview(memory)[:ROOM])
    bytes_in_place = memory.tobytes()
    again, expected = decode(bytes_in_place), decode(encoded.tobytes())
    assert repr(again) == repr(expected)
    assert memory[ROOM:].tobytes() == array.tobytes("A")


def test_nothing_of_what_was_there_before_is_left():
    array, memory = born(np.arange(10.0))
    encode(array).write_before(memoryview(memory)[:ROOM])
    assert 0xAA not in memory[:ROOM]


def test_without_enough_room_nothing_is_written():
    array, memory = born(np.arange(10.0))
    assert not encode([array, "x" * ROOM]).write_before(memoryview(memory)[:ROOM])
    assert (memory[:ROOM] == 0xAA).all()


def test_only_one_large_buffer_can_stay_where_it_is():
    one = np.arange(100_000.0)
    assert np.frombuffer(encode(one).only_buffer).ctypes.data == one.ctypes.data
    assert encode((one, one)).only_buffer is not None, "pickle keeps it once"
    for value in ((one, one[1:]), 5, (one[::2],), {"a": one, "b": one.copy()}):
        assert encode(value).only_buffer is None


SHAPES = [5, (2, 3), [2, 3], (), 0, (3, 0), np.int64(4), np.array([2, 2])]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [float, "f4", bool, object, [("t", "f4"), ("name", "U5")], "M8[s]", "U3", ("f8", (2, 2)), None])
def test_outside_a_runner_arrays_are_numpys(shape, order, dtype):
    ours, theirs = hr.empty(shape, dtype, order), np.empty(shape, dtype, order)
    assert (ours.shape, ours.dtype, ours.strides, ours.flags.owndata) == (theirs.shape, theirs.dtype, theirs.strides, theirs.flags.owndata)
    zeros, expected = hr.zeros(shape, dtype, order), np.zeros(shape, dtype, order)
    assert (zeros.dtype, zeros.strides, zeros.tolist()) == (expected.dtype, expected.strides, expected.tolist())


def test_an_array_like_another_has_its_shape_type_and_order():
    for prototype in (np.ones((2, 3), "i2"), np.ones((2, 3), order="F"), np.ones((4, 6))[::2, ::2], np.ones(())):
        ours, theirs = hr.empty_like(prototype), np.empty_like(prototype)
        assert (ours.shape, ours.dtype, ours.strides) == (theirs.shape, theirs.dtype, theirs.strides)


def test_negative_sides_are_refused():
    with pytest.raises(ValueError, match="negative"):
        hr.empty((2, -1))


def test_who_provides_arrays_does_so_for_one_thread():
    made = []

    def work():
        making.provide(lambda shape, dtype, order: made.append(shape) or np.empty(shape, dtype, order))
        hr.empty(7)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    hr.empty(8)
    assert made == [7]
