"""Invalid bytes give an error, never a crash, and decoding reads nothing outside them."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.values import CorruptValue, decode, encode
from headrace.values.layout import PREFIX

WHOLE = encode([np.arange(5), {"a": np.ones((2, 3), order="F")}, "text"]).tobytes()
HEADER = PREFIX.size + 2 * 8


@pytest.mark.parametrize("length", [0, 1, 5, PREFIX.size - 1, PREFIX.size, HEADER - 1, HEADER, HEADER + 10, len(WHOLE) - 1])
def test_truncated(length):
    with pytest.raises(CorruptValue):
        decode(WHOLE[:length])
    with pytest.raises(CorruptValue):
        decode(memoryview(WHOLE)[:length])


@pytest.mark.parametrize(
    ("bytes_", "what"),
    [
        (b"", "no bytes"),
        (b"\x02abc", "byte 0 is 0x02"),
        (b"\x01", "shorter than the 16"),
        (PREFIX.pack(1, 2**32 - 1, 0), "4294967295 buffers"),
        (PREFIX.pack(1, 0, 2**64 - 1), "pickle of 18446744073709551615 bytes"),
        (PREFIX.pack(1, 0, 0), "cannot be read"),
        (PREFIX.pack(1, 1, 1) + (100).to_bytes(8, "little") + b".", "buffer 0 of 100 bytes at byte 64"),
        (PREFIX.pack(1, 1, 1) + (2**64 - 1).to_bytes(8, "little") + b".", "buffer 0 of 18446744073709551615 bytes at byte 64"),
        (b"\x80", "cannot be read"),
        (b"\x80\x05\x97.", "cannot be read"),
    ],
)
def test_says_what_and_where(bytes_, what):
    with pytest.raises(CorruptValue, match=what):
        decode(bytes_)


def test_memory_with_gaps():
    with pytest.raises(CorruptValue, match="gaps"):
        decode(memoryview(WHOLE)[::2])


def test_a_pickle_that_asks_for_more_buffers_than_there_are():
    stream_only = PREFIX.pack(1, 0, len(WHOLE) - HEADER) + WHOLE[HEADER:]
    with pytest.raises(CorruptValue, match="0 buffers"):
        decode(stream_only)


@given(st.integers(0, HEADER - 1), st.integers(1, 255))
@example(0, 0x81)
@settings(max_examples=300, deadline=None)
def test_mutated_header(position, flip):
    """Any one byte of the header altered: an error, or arrays that lie inside the buffer."""
    mutated = bytearray(WHOLE)
    mutated[position] ^= flip
    try:
        first, rest, _ = decode(mutated)
    except Exception:  # a pickle cut elsewhere may say anything; that it says it is the point
        return
    low = np.frombuffer(mutated, "u1").ctypes.data
    for array in (first, rest["a"]):
        start = array.ctypes.data
        assert low <= start
        assert start + array.nbytes <= low + len(mutated)
