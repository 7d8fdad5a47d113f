"""The tasks of chaos graphs. Every value follows from the graph by integer arithmetic, and every array holds one number throughout, so that
a byte that was lost, doubled or mixed up shows at the next task that reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

PRIME = 2_147_483_647


def answer(key: int, index: int, values: Sequence[int]) -> int:
    """The number in output `index` of the task with this key, which read these numbers."""
    return (key * 31 + index * 17 + sum((place + 1) * value for place, value in enumerate(values))) % PRIME


def made(number: int, nbytes: int) -> Any:
    """The value that stands for a number: an array of so many bytes, or the int itself if there are none."""
    return np.full(nbytes // 8, number, dtype=np.int64) if nbytes else number


def number_in(value: Any, nbytes: int) -> int:
    """The number that a value stands for. Raises ValueError for a value of another size, or one that holds two numbers."""
    if not nbytes:
        if type(value) is not int:
            raise ValueError(f"a {type(value).__name__} where an int was made")
        return value
    if not isinstance(value, np.ndarray) or value.nbytes != nbytes // 8 * 8:
        raise ValueError(f"{getattr(value, 'nbytes', type(value).__name__)} where an array of {nbytes} bytes was made")
    first = int(value[0])
    if not (value == first).all():
        raise ValueError(f"an array of {nbytes} bytes holds {first} and other numbers")
    return first


def work(key: int, seconds: float, nbytes: int, read: Sequence[int], *inputs: Any) -> Any:
    """Read the inputs, whose sizes are `read`, take some time, and make a value."""
    values = [number_in(value, size) for value, size in zip(inputs, read, strict=True)]
    time.sleep(seconds)
    return made(answer(key, 0, values), nbytes)


def steps(key: int, seconds: float, sizes: Sequence[int], read: Sequence[int], *inputs: Any) -> Iterator[Any]:
    """The same as a generator of several values, each of which takes the time."""
    values = [number_in(value, size) for value, size in zip(inputs, read, strict=True)]
    for index, nbytes in enumerate(sizes):
        time.sleep(seconds)
        yield made(answer(key, index, values), nbytes)
