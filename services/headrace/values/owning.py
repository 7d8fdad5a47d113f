"""Whether a value's memory is its own, or something else can still write to it.

A function may return an array that it keeps: a work array that it fills again at its next call, a view of one, an array over the memory
of a library. Whoever has to hold on to such a value copies it. An array to which nothing else in the process refers needs no copy, and
that is what this module finds out, by counting references.
"""

from __future__ import annotations

from sys import getrefcount

import numpy as np


def is_own(view: memoryview) -> bool:
    """Whether `view` is all that refers to its memory, so that nobody else can change what is there. When in doubt: False.

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
    """How many references there are to the array that a view is of, and the most that there are to one of the arrays whose memory it uses.

    None where the memory is not an array's own. The counts include those of this function: compare them with `_ALONE`.
    """
    array: object = view.obj
    own, most = getrefcount(array), 0
    while type(array) is np.ndarray and array.base is not None:
        base: object = array.base
        most = max(most, getrefcount(base))
        array = base
    return (own, most) if type(array) is np.ndarray and array.flags.owndata else None


def _measure() -> tuple[int, int]:
    """What `_references` counts where a view is all that refers to an array, and that to its base: it depends on the interpreter."""
    counts = _references(memoryview(np.zeros((4, 4))[1:][1:].T))  # type: ignore[arg-type]
    assert counts is not None
    return counts


_ALONE = _measure()
