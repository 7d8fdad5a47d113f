"""`decode` returns every value that `encode` encodes unchanged."""

import gc
import math
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headrace.errors import HeadraceError
from headrace.values import PLAIN_TYPES, CorruptValue, NotPicklable, decode, decode_many, encode, encode_plain
from headrace.values.layout import ALIGNMENT

scalars = st.none() | st.booleans() | st.integers(-(2**90), 2**90) | st.floats() | st.text() | st.binary() | st.complex_numbers()
dtypes = hnp.scalar_dtypes() | hnp.array_dtypes()
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
containers = st.recursive(
    scalars | arrays,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def through(value):
    return decode(encode(value).tobytes())


def native(array):
    """In the machine's byte order, which numpy itself turns some arrays into when it pickles them (dates, gaps)."""
    return array.astype(array.dtype.newbyteorder("="))


def same(left, right):
    """Equal in type, shape, layout of items and value, NaN included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        left, right = native(left), native(right)
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(map(same, left.values(), right.values()))
    return repr(left) == repr(right)


@given(containers)
@settings(max_examples=200, deadline=None)
def test_nested_containers_come_back(value):
    encoded = encode(value)
    whole = encoded.tobytes()
    assert len(whole) == encoded.nbytes
    assert same(decode(whole), value)
    assert same(decode(memoryview(whole + b"more")), value)


@given(arrays, st.sampled_from("CF"))
@settings(max_examples=100, deadline=None)
def test_orders_and_gaps(array, order):
    for variant in (
        np.asarray(array, order=order),
        array.T,
        array[..., ::2] if array.ndim else array,
        np.broadcast_to(array, (2, *array.shape)),
    ):
        assert same(through(variant), variant)


@pytest.mark.parametrize(
    "array",
    [
        np.array(7.5),
        np.array([]),
        np.zeros((0, 3), "i2"),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(20)[::3],
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", ">f8")]),
        np.array([None, "x", 2**80], dtype=object),
        np.array(["2026-11-22"], dtype="M8[s]"),
        np.array(["a", "bcd"]),
        np.ma.masked_array([1, 2], mask=[True, False]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_kinds_of_arrays(array):
    back = through(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize("value", [None, 2**80, b"", b"x" * 5000, "\N{SNOWMAN}", (), frozenset({1}), ...])
def test_plain_values(value):
    assert through(value) == value
    assert encode(value).tobytes()[0] == 0x80


def test_nan():
    assert math.isnan(through(math.nan))


def test_fortran_order_survives():
    assert through(np.asfortranarray(np.ones((3, 4)))).flags.f_contiguous


def test_pandas_and_xarray():
    pandas = pytest.importorskip("pandas")
    xarray = pytest.importorskip("xarray")
    frame = pandas.DataFrame({"t": [1.5, 2.5], "name": ["a", None]}, index=pandas.date_range("2019-03-01", periods=2))
    field = xarray.DataArray(np.arange(6.0).reshape(2, 3), dims=("y", "x"), coords={"y": [1, 2]}, attrs={"units": "K"})
    pandas.testing.assert_frame_equal(through(frame), frame)
    xarray.testing.assert_identical(through(field), field)
    assert encode(field).tobytes()[0] == 0x01


def test_lambdas_and_local_classes_go_by_value():
    class Local:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, value):
            return self.factor * value

    assert through(lambda x: x + 1)(2) == 3
    assert through(Local(4))(5) == 20


def test_a_lambda_with_arrays_keeps_them_out_of_band():
    array = np.arange(1000.0)
    function, back = through((lambda x: x.sum(), array))
    assert function(back) == array.sum()
    assert encode((lambda: 0, array)).tobytes()[0] == 0x01


def test_text_that_mentions_main_is_still_itself():
    assert through({"__main__": ["__main__"]}) == {"__main__": ["__main__"]}


def test_buffers_are_aligned_and_gaps_are_zero():
    first, second = np.full(3, 255, "u1"), np.full(70, 255, "u1")
    encoded = encode([first, second])
    place = memoryview(bytearray(b"\xee" * (encoded.nbytes + 10)))
    encoded.write_into(place)
    starts = [bytes(place).index(b"\xff" * 3 + b"\x00"), bytes(place).index(b"\xff" * 70)]
    assert [start % ALIGNMENT for start in starts] == [0, 0]
    assert starts[0] < starts[1]
    assert place[starts[0] + 3 : starts[1]] == bytes(starts[1] - starts[0] - 3)
    assert bytes(place[encoded.nbytes :]) == b"\xee" * 10


def test_decoding_copies_nothing_and_keeps_the_memory():
    place = bytearray(encode(np.arange(100)).nbytes)
    encode(np.arange(100)).write_into(memoryview(place))
    array = decode(memoryview(place))
    place[-8:] = (4711).to_bytes(8, "little")
    assert array[-1] == 4711
    assert array.flags.writeable
    assert not array.flags.owndata
    with pytest.raises(BufferError):
        place.clear()  # the array holds on to it


def test_read_only_memory_gives_read_only_arrays():
    whole = encode(np.arange(10)).tobytes()
    assert not decode(whole).flags.writeable
    assert not decode(memoryview(bytearray(whole)).toreadonly()).flags.writeable


def test_an_array_that_was_read_only_stays_so():
    array = np.arange(10)
    array.setflags(write=False)
    assert not decode(bytearray(encode(array).tobytes())).flags.writeable


def test_encoded_lets_go_of_the_value():
    array = np.arange(10)
    watched = weakref.ref(array)
    encoded = encode(array)
    del array
    assert watched() is not None
    del encoded
    gc.collect()
    assert watched() is None


def test_views_of_wider_items_are_read_as_bytes():
    whole = encode("abc" * 7).tobytes()
    padded = memoryview(bytearray(whole.ljust(64, b"\0"))).cast("Q")
    assert decode(padded) == "abc" * 7


def test_destination_too_small():
    encoded = encode(np.arange(10))
    with pytest.raises(ValueError, match=f"needs {encoded.nbytes} bytes"):
        encoded.write_into(memoryview(bytearray(encoded.nbytes - 1)))


class Refuses:
    def __reduce__(self):
        raise RuntimeError("I hold a socket")


def test_what_cannot_be_pickled_says_why():
    with pytest.raises(NotPicklable, match=r"Refuses.*I hold a socket") as caught:
        encode([Refuses()].pop())
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, HeadraceError)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(NotPicklable, match="generator"):
        encode(x for x in "ab")


class Gappy:
    def __reduce_ex__(self, protocol):
        return bytes, (pickle.PickleBuffer(memoryview(b"abcdef")[::2]),)


def test_a_buffer_with_gaps_is_refused():
    with pytest.raises(NotPicklable, match="Gappy"):
        encode(Gappy())


def test_an_array_with_gaps_is_read_as_any_other():
    array = decode(encode(np.arange(10.0)[::2]).tobytes())
    assert array.tolist() == [0, 2, 4, 6, 8]
    assert not array.flags.writeable


def test_many_values_decode_as_each_does():
    values = [3, "text", np.arange(1000.0), None]
    encoded = [encode(value).tobytes() for value in values]
    mixed = [*encoded, memoryview(encoded[0])]
    assert all(same(many, decode(one)) for many, one in zip(decode_many(mixed), mixed, strict=True))
    with pytest.raises(CorruptValue):
        decode_many([encoded[0], b""])


@given(st.none() | st.booleans() | st.integers() | st.integers(-(2**9000), 2**9000) | st.floats())
def test_plain_values_are_encoded_as_all_others_are(value):
    assert type(value) in PLAIN_TYPES
    assert encode_plain(value) == encode(value).tobytes()
