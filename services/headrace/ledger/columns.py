"""Columns of integers, and what batches of them have in common.

A numpy call costs about a microsecond whatever it is given; a step of a plain loop costs a tenth of that. So a batch of up to `FEW` entries
is handled by a loop over `Cells`, a longer one by numpy, which looks at the same memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FEW = 32
"""The longest batch that a plain loop handles faster than numpy calls do."""

Ints = npt.NDArray[Any]
"""A column or a batch of integers of any width."""
Cells: TypeAlias = "array[int]"
"""A column for plain loops: quickly made, read and written, and it can grow."""


view: Callable[[Ints], memoryview[int]] = memoryview  # type: ignore[assignment]
"""The same column for plain loops: entries are read and written as ints, five times as fast as through numpy."""


def cells(typecode: str, length: int, fill: int = 0) -> Cells:
    """A column of equal entries, 0 or -1: so that also its bytes are all equal.

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
    """An attribute: the column of another attribute for numpy, which is the same memory. Made when it is first asked for; from then on
    the column cannot grow.
    """

    def __init__(self, cells: str) -> None:
        self._cells = cells

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Ints:
        column = instance.__dict__[self._name] = numbers(getattr(instance, self._cells))
        return column


def ints(column: Iterable[int]) -> Ints:
    """A list of ids as an array to index with."""
    return np.array(column, dtype=np.int64)


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """The ranges [start, start + length) one after the other.

    >>> ranges(ints([5, 0]), ints([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    if not len(lengths) or (lengths == 1).all():
        return starts
    ends = np.cumsum(lengths)
    result: Ints = np.arange(int(ends[-1])) + np.repeat(starts - (ends - lengths), lengths)
    return result


def distinct(values: Ints) -> Ints:
    """The distinct values, in ascending order: np.unique, but by sorting, which numpy does several times as fast as hashing.

    >>> distinct(ints([3, 1, 3])).tolist()
    [1, 3]
    """
    ordered: Ints = np.sort(values)
    if len(ordered) > 1:
        ordered = ordered[np.concatenate([_TRUE, ordered[1:] != ordered[:-1]])]
    return ordered


def add_at(column: Ints, places: Ints, amounts: Ints | int) -> None:
    """column[places] += amounts, also where a place comes several times. numpy has a quick way for amounts of the column's own type."""
    if isinstance(amounts, int):
        amounts = np.full(len(places), amounts, dtype=column.dtype)
    np.add.at(column, places, amounts.astype(column.dtype, copy=False))


def within(column: list[int], size: int) -> bool:
    """Whether every id is one of `size`: a host may say anything, and a fold must survive it."""
    return not column or (min(column) >= 0 and max(column) < size)


_TRUE = np.ones(1, dtype=np.bool_)
_ITEM_SIZES = {typecode: array(typecode).itemsize for typecode in "BhiqQ"}
_SINGLE = {(typecode, fill): array(typecode, (fill,)) for typecode in "BhiqQ" for fill in (0, -1) if typecode.islower() or not fill}
"""The columns of one entry: of each job of one task nine are made, and to copy one takes a third of the time."""


class Batch:
    """Ids collected one by one or in arrays, handed out together; an id may be in it several times."""

    __slots__ = ("few", "many")

    def __init__(self) -> None:
        self.few: list[int] = []
        self.many: list[Ints] = []

    def __bool__(self) -> bool:
        return bool(self.few or self.many)

    def __len__(self) -> int:
        return len(self.few) + sum(map(len, self.many))

    def add(self, ids: Ints) -> None:
        """Add the ids of an array."""
        if len(ids):
            self.many.append(ids)

    def array(self) -> Ints:
        """All ids, as an array."""
        parts = [*self.many, ints(self.few)] if self.few else self.many
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else ints(())

    def list(self) -> list[int]:
        """All ids, as a list."""
        return [*self.few, *(id for ids in self.many for id in ids.tolist())] if self.many else [*self.few]


NOTHING = Batch()
"""The batch that stays empty: what is not a list, nobody adds to."""
NOTHING.few = NOTHING.many = ()  # type: ignore[assignment]


# --- columns that grow at their end -----------------------------------------------------------------------------------


def numbers(column: Cells) -> Ints:
    """A growing column for numpy: the same memory, to be read or written at once and not kept, for while it is, the column cannot grow.

    >>> column = array("i", [3, 4])
    >>> numbers(column)[1:] = 5; column.tolist()
    [3, 5]
    """
    return np.frombuffer(column, dtype=column.typecode)


def lengthen(column: Cells, length: int, fill: int) -> None:
    """Make a growing column at least so long; new entries are `fill`."""
    missing = length - len(column)
    if missing == 1:
        column.append(fill)
    elif missing > 0:
        column.frombytes(np.full(missing, fill, dtype=column.typecode).tobytes())


def extend(column: Cells, values: Ints) -> None:
    """Add values at the end of a growing column."""
    column.frombytes(values.astype(column.typecode, copy=False).tobytes())
