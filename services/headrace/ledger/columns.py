"""Columns of integers that plain loops and numpy share, and functions on them.

A numpy call costs at least about a microsecond; an iteration of a plain loop costs a tenth of that. So a loop over `Cells` handles a batch
of up to `FEW` entries, and numpy handles a longer one in the same memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FEW = 32
"""The longest batch that a plain loop handles faster than numpy."""

Ints = npt.NDArray[Any]
"""A column or a batch of integers of any width."""
Cells: TypeAlias = "array[int]"
"""A column for plain loops. It is fast to make, read and write, and can grow."""


view: Callable[[Ints], memoryview[int]] = memoryview  # type: ignore[assignment]
"""View a numpy column as Python ints, which plain loops read and write five times as fast as through numpy."""


def cells(typecode: str, length: int, fill: int = 0) -> Cells:
    """Make a column with equal entries. fill: 0 or -1, whose bytes are all equal.

    >>> one, other = cells("i", 1), cells("i", 1)
    >>> one[0] = 5
    >>> one, other
    (array('i', [5]), array('i', [0]))
    """
    if length == 1:
        return _SINGLE[typecode, fill][:]
    size = length * _ITEM_SIZES[typecode]
    return array(typecode, b"\xff" * size if fill else bytes(size))


class Numbers:
    """A descriptor that shows the column of another attribute as a numpy array in the same memory.

    The array is made when it is first read. From then on the column cannot grow.
    """

    def __init__(self, cells: str) -> None:
        self._cells = cells

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Ints:
        column = instance.__dict__[self._name] = numbers(getattr(instance, self._cells))
        return column


def ints(column: Iterable[int]) -> Ints:
    """Make an index array of ids."""
    return np.array(column, dtype=np.int64)


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """Concatenate the ranges [start, start + length).

    >>> ranges(ints([5, 0]), ints([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    if not len(lengths) or (lengths == 1).all():
        return starts
    ends = np.cumsum(lengths)
    result: Ints = np.arange(int(ends[-1])) + np.repeat(starts - (ends - lengths), lengths)
    return result


def distinct(values: Ints) -> Ints:
    """Return the distinct values in ascending order, like np.unique, but by sorting, which is several times as fast as numpy's hashing.

    >>> distinct(ints([3, 1, 3])).tolist()
    [1, 3]
    """
    ordered: Ints = np.sort(values)
    if len(ordered) > 1:
        ordered = ordered[np.concatenate([_TRUE, ordered[1:] != ordered[:-1]])]
    return ordered


def add_at(column: Ints, places: Ints, amounts: Ints | int) -> None:
    """Add amounts to entries of a column. An index may occur several times in `places`."""
    if isinstance(amounts, int):  # np.add.at is fast only if both have the same type
        amounts = np.full(len(places), amounts, dtype=column.dtype)
    np.add.at(column, places, amounts.astype(column.dtype, copy=False))


def within(column: list[int], size: int) -> bool:
    """Whether every id is at least 0 and less than `size`. A host may send any number, and the fold must not fail on it."""
    return not column or (min(column) >= 0 and max(column) < size)


_TRUE = np.ones(1, dtype=np.bool_)
_ITEM_SIZES = {typecode: array(typecode).itemsize for typecode in "BhiqQ"}
_SINGLE = {(typecode, fill): array(typecode, (fill,)) for typecode in "BhiqQ" for fill in (0, -1) if typecode.islower() or not fill}
"""Columns with one entry, to be copied. A job of one task makes nine of these, and a copy takes a third of the time of a new array."""


class Batch:
    """A collection of ids, added one by one (`few`) or as arrays (`many`). An id may occur several times."""

    __slots__ = ("few", "many")

    def __init__(self) -> None:
        self.few: list[int] = []
        self.many: list[Ints] = []

    def __bool__(self) -> bool:
        return bool(self.few or self.many)

    def __len__(self) -> int:
        return len(self.few) + sum(map(len, self.many))

    def add(self, ids: Ints) -> None:
        """Add an array of ids. It is kept, not copied."""
        if len(ids):
            self.many.append(ids)

    def array(self) -> Ints:
        """Return all ids as an array."""
        parts = [*self.many, ints(self.few)] if self.few else self.many
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else ints(())

    def list(self) -> list[int]:
        """Return all ids as a list."""
        return [*self.few, *(id for ids in self.many for id in ids.tolist())] if self.many else [*self.few]


NOTHING = Batch()
"""The empty batch. Its parts are tuples, so that nothing can be added."""
NOTHING.few = NOTHING.many = ()  # type: ignore[assignment]


# --- columns that grow at their end -----------------------------------------------------------------------------------


def numbers(column: Cells) -> Ints:
    """View a column as a numpy array in the same memory. Do not keep the array: while it exists, the column cannot grow.

    >>> column = array("i", [3, 4])
    >>> numbers(column)[1:] = 5; column.tolist()
    [3, 5]
    """
    return np.frombuffer(column, dtype=column.typecode)


def lengthen(column: Cells, length: int, fill: int) -> None:
    """Append entries with the value `fill` until a column has at least `length` entries."""
    missing = length - len(column)
    if missing == 1:
        column.append(fill)
    elif missing > 0:
        column.frombytes(np.full(missing, fill, dtype=column.typecode).tobytes())


def extend(column: Cells, values: Ints) -> None:
    """Append values to a column."""
    column.frombytes(values.astype(column.typecode, copy=False).tobytes())
