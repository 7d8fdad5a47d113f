"""The layout of an encoded value in memory.

A value without large buffers is a plain pickle (protocol 5), whose first byte is always ``0x80``.
A value with buffers (arrays, mostly) is laid out as

===========================  ======================================================================================
``0``                        ``0x01``: the version of this layout
``1 .. 3``                   zero
``4 .. 7``                   number of buffers, u32
``8 .. 15``                  length of the pickle in bytes, u64
``16 ..``                    one u64 per buffer: its length in bytes
then                         the pickle, which refers to the buffers in this order, and says which are read-only
                             (it says itself where it ends: zeros may follow, up to its length)
then, each 64-byte aligned   the buffers, with zeros between them
===========================  ======================================================================================

All integers are little-endian. Alignment is relative to the start of the value, which its holder aligns to 64 bytes too.
"""

from struct import Struct
from typing import Final

PICKLE_PROTOCOL: Final = 5
"""The pickle protocol: the first one with out-of-band buffers (PEP 574)."""
PICKLE_MARK: Final = 0x80
"""The first byte of every pickle of protocol 2 and later."""
LAYOUT_MARK: Final = 0x01
"""The first byte of a value with buffers; no pickle starts with it."""
ALIGNMENT: Final = 64
"""Alignment of buffers in bytes: a cache line, and the widest vector load, so that numpy never falls back to unaligned loops."""

PREFIX: Final = Struct("<B3xIQ")
"""The struct of the header: version, number of buffers, length of the pickle in bytes."""


def aligned(offset: int) -> int:
    """Return the first multiple of `ALIGNMENT` at or after `offset` (both in bytes).

    >>> aligned(0), aligned(1), aligned(64)
    (0, 64, 64)
    """
    return -(-offset // ALIGNMENT) * ALIGNMENT


def lengths_format(count: int) -> Struct:
    """Return the struct of the lengths of `count` buffers, which follows the header."""
    return Struct(f"<{count}Q")
