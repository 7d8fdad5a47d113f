"""Creates arrays for results. In a task they are allocated in the host's store, so that returning them copies nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, Protocol, SupportsIndex

import numpy as np
import numpy.typing as npt

Shape = SupportsIndex | Sequence[SupportsIndex]
Order = Literal["C", "F"]


class Maker(Protocol):
    """A function that makes arrays as `numpy.empty` does."""

    def __call__(self, shape: Shape, dtype: npt.DTypeLike, order: Order, /) -> npt.NDArray[Any]:
        """Return a new array, not initialised."""


class _Here(threading.local):
    """The maker of this thread's arrays. A store's heap serves one thread, so a thread that a task starts uses NumPy's."""

    maker: Maker = staticmethod(np.empty)


_here = _Here()


def provide(maker: Maker) -> None:
    """Let `maker` make this thread's arrays from now on. A runner calls this when it starts."""
    _here.maker = maker


def empty(shape: Shape, dtype: npt.DTypeLike = float, order: Order = "C") -> npt.NDArray[Any]:
    """Return a new array for a task to fill and return, not initialised, as `numpy.empty` does.

    In a task, a large array (from 64 KiB) is allocated in the store of its host. Returning it then costs no copy, and no memory for a
    second array:

        @hr.task
        def anomaly(field, climate):
            return np.subtract(field, climate, out=hr.empty(field.shape))

    Return it whole, by itself or as the only array in a tuple, a dict or another object. Anything else also works, but costs the copy that
    any array costs: returning a part of it, returning the same array twice, or keeping it or a view of it beyond the end of the task. A
    generator keeps its variables while other tasks read the value that it yielded: `yield fill(step)`, where the function `fill` makes the
    array, copies nothing; `field = fill(step)` followed by `yield field` copies.

    Elsewhere (in the client, in tests, in threads and processes that a task starts), for arrays of objects, and if the store has no room,
    this is `numpy.empty`. Call that also for arrays that you do not return: these would take room in the store.

    Args:
        shape: the lengths of the array's sides.
        dtype: the type of its elements.
        order: "C" for rows one after another, "F" for columns.

    Raises:
        ValueError: a side is negative.

    >>> empty((2, 3), "f4").shape
    (2, 3)
    """
    return _here.maker(shape, dtype, order)


def zeros(shape: Shape, dtype: npt.DTypeLike = float, order: Order = "C") -> npt.NDArray[Any]:
    """Return a new array as `empty` does, filled with zeros.

    >>> zeros(3)
    array([0., 0., 0.])
    """
    made = empty(shape, dtype, order)
    made[...] = np.zeros((), dtype)
    return made


def empty_like(prototype: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a new array as `empty` does, with the shape, the type and the order of another array.

    >>> empty_like(np.ones((2, 3), bool)).dtype
    dtype('bool')
    """
    order: Order = "F" if prototype.flags.fnc else "C"
    return empty(prototype.shape, prototype.dtype, order)
