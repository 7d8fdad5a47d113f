"""Finds out whether a value's memory is its own, or whether something else can still write to it.

A function may return an array that it keeps: a work array that it fills again at its next call, a view of one, or an array over the memory
of a library. To keep such a value, one must copy it. An array to which nothing else in the process refers needs no copy. This module
detects that by counting references.
"""

from __future__ import annotations

from sys import getrefcount

import numpy as np


def is_own(view: memoryview) -> bool:
    """Return whether only `view` refers to its memory, so that nothing else can change it. When in doubt, return False.

    >>> is_own(memoryview(np.zeros(3)))
    True
    >>> work = np.zeros(3)
    >>> is_own(memoryview(work)), is_own(memoryview(work[1:])), is_own(memoryview(bytearray(3))), is_own(memoryview(b"abc"))
    (False, False, False, True)
    """
    if type(view.obj) is bytes:
        return True
    counts = _references(view)
    return counts is not None and counts[0] <= _ALONE[0] and counts[1] <= _ALONE[1]


def _references(view: memoryview) -> tuple[int, int] | None:
    """Count the references to the array of a view, and the most references to any of the arrays whose memory it uses.

    None if the memory does not belong to an array. The counts include those of this function: compare them with `_ALONE`.
    """
    array: object = view.obj
    own, most = getrefcount(array), 0
    while type(array) is np.ndarray and array.base is not None:
        base: object = array.base
        most = max(most, getrefcount(base))
        array = base
    return (own, most) if type(array) is np.ndarray and array.flags.owndata else None


def _measure() -> tuple[int, int]:
    """Return what `_references` counts if only a view refers to an array, and only that to its base. It depends on the interpreter."""
    counts = _references(memoryview(np.zeros((4, 4))[1:][1:].T))  # type: ignore[arg-type]
    assert counts is not None
    return counts


_ALONE = _measure()
