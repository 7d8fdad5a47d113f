"""Decodes values. Arrays in a decoded value are views of the encoded bytes."""

import pickle
from collections.abc import Iterable
from typing import Any

from headrace.values.errors import CorruptValue
from headrace.values.layout import LAYOUT_MARK, PICKLE_MARK, PREFIX, aligned, lengths_format

_PLAIN = bytes([PICKLE_MARK])
"""The first byte of a value without buffers."""


def decode(buffer: memoryview | bytes) -> Any:
    """Decode the value at the start of `buffer`; bytes after its end are ignored.

    Arrays are views of `buffer`, which they keep alive: nothing is copied. An array is read-only if `buffer` is, or if it was when it was
    encoded.

    This unpickles: pass only bytes that an authenticated peer of the same job has encoded.

    >>> from headrace.values import encode
    >>> decode(encode({"step": 6}).tobytes())
    {'step': 6}

    Raises `CorruptValue` if the bytes are not a whole encoded value, and any exception of unpickling itself (for example, for a module that
    cannot be imported here).
    """
    whole = buffer if type(buffer) is bytes else _as_bytes_view(buffer)
    if not whole:
        raise CorruptValue("there are no bytes where an encoded value should begin")
    if whole[0] == PICKLE_MARK:
        return _unpickle(whole, ())
    return _decode_layout(memoryview(whole))


def decode_many(buffers: Iterable[memoryview | bytes]) -> list[Any]:
    """Decode several values, in half the time if they are small values in bytes objects. Raises the error of the first invalid one."""
    loads = pickle.loads
    return [loads(buffer) if type(buffer) is bytes and buffer[:1] == _PLAIN else decode(buffer) for buffer in buffers]


def _unpickle(stream: memoryview | bytes, buffers: tuple[memoryview, ...]) -> Any:
    try:
        return pickle.loads(stream, buffers=buffers)
    except (pickle.UnpicklingError, EOFError) as error:
        raise CorruptValue(f"the pickle of {len(stream)} bytes with {len(buffers)} buffers cannot be read: {error}") from error


def _as_bytes_view(buffer: memoryview | bytes) -> memoryview:
    view = memoryview(buffer)
    if not view.c_contiguous:
        raise CorruptValue("the memory of an encoded value has gaps: pass a contiguous buffer")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _decode_layout(whole: memoryview) -> Any:
    if whole[0] != LAYOUT_MARK:
        raise CorruptValue(f"byte 0 is {whole[0]:#04x}, but a value begins with {PICKLE_MARK:#x} or {LAYOUT_MARK:#04x}")
    if whole.nbytes < PREFIX.size:
        raise CorruptValue(f"{whole.nbytes} bytes, shorter than the {PREFIX.size} of the header at byte 0")
    _, count, pickle_length = PREFIX.unpack_from(whole)
    start = PREFIX.size + 8 * count
    if start + pickle_length > whole.nbytes:
        raise CorruptValue(
            f"the header at byte 0 names {count} buffers and a pickle of {pickle_length} bytes, beyond the {whole.nbytes} there are"
        )
    lengths = lengths_format(count).unpack_from(whole, PREFIX.size)
    stream = whole[start : start + pickle_length]
    return _unpickle(stream, _slice_buffers(whole, start + pickle_length, lengths))


def _slice_buffers(whole: memoryview, end: int, lengths: tuple[int, ...]) -> tuple[memoryview, ...]:
    buffers = []
    for index, length in enumerate(lengths):
        start = aligned(end)
        end = start + length
        if end > whole.nbytes:
            raise CorruptValue(f"buffer {index} of {length} bytes at byte {start} ends beyond the {whole.nbytes} bytes there are")
        buffers.append(whole[start:end])
    return tuple(buffers)
