"""Arrays for results: born in the host's store where there is one, so that returning them copies nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, Protocol, SupportsIndex

import numpy as np
import numpy.typing as npt

Shape = SupportsIndex | Sequence[SupportsIndex]
Order = Literal["C", "F"]


class Maker(Protocol):
    """Makes arrays as `numpy.empty` does."""

    def __call__(self, shape: Shape, dtype: npt.DTypeLike, order: Order, /) -> npt.NDArray[Any]:
        """A new array, not initialised."""


class _Here(threading.local):
    """What makes this thread's arrays. A store's heap is for one thread, so a thread that a task starts has NumPy's."""

    maker: Maker = staticmethod(np.empty)


_here = _Here()


def provide(maker: Maker) -> None:
    """Have this thread's arrays made by `maker` from now on: what a runner does when it starts."""
    _here.maker = maker


def empty(shape: Shape, dtype: npt.DTypeLike = float, order: Order = "C") -> npt.NDArray[Any]:
    """A new array for a task to fill and return, as `numpy.empty` makes it: not initialised.

    In a task, a large one (from 64 KiB) is born in the store of its host. To return it costs no copy then, and no second array's memory:

        @hr.task
        def anomaly(field, climate):
            return np.subtract(field, climate, out=hr.empty(field.shape))

    Return it whole, on its own or as the only array in a tuple, a dict or another object. All else is right too, and costs the copy that
    any array costs: to return a part of it, or the same array twice; to keep it, or a view of it, beyond the end of the task. A generator
    keeps its variables while others read what it yielded: `yield fill(step)`, where the function `fill` makes the array, copies nothing;
    `field = fill(step)` and then `yield field` copies.

    In other places (the client, tests, threads and processes that a task starts), for arrays of objects, and where the store has no room,
    it is `numpy.empty` and nothing else. That is also what to call for arrays that are not returned: these take room in the store.

    Args:
        shape: the array's sides.
        dtype: what its elements are.
        order: "C" for rows one after another, "F" for columns.

    Raises:
        ValueError: a negative side.

    >>> empty((2, 3), "f4").shape
    (2, 3)
    """
    return _here.maker(shape, dtype, order)


def zeros(shape: Shape, dtype: npt.DTypeLike = float, order: Order = "C") -> npt.NDArray[Any]:
    """`empty`, filled with zeros.

    >>> zeros(3)
    array([0., 0., 0.])
    """
    made = empty(shape, dtype, order)
    made[...] = np.zeros((), dtype)
    return made


def empty_like(prototype: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`empty` with the shape, the type and the order of another array.

    >>> empty_like(np.ones((2, 3), bool)).dtype
    dtype('bool')
    """
    order: Order = "F" if prototype.flags.fnc else "C"
    return empty(prototype.shape, prototype.dtype, order)
