"""The states of random generators, of Python's and of NumPy's classes alike; and whether anything was drawn from the global ones."""

from __future__ import annotations

import ctypes
import functools
import random
from typing import Any

_WORDS = 624
"""Words in the state of a Mersenne Twister. Its position lies beside them and changes with each draw; the words change at every 624th."""


def numpy_random() -> Any:
    """Return the module, imported at first use."""
    import numpy.random  # takes some milliseconds, and many graphs do without

    return numpy.random


@functools.cache
def global_generators() -> tuple[Any, ...]:
    """Return Python's global generator and NumPy's."""
    return random._inst, numpy_random().mtrand._rand


def seed(generator: Any, job_seed: int, task: int, index: int) -> None:
    """Give a generator the state that belongs to a task. index: the generator's place among those that the task draws from."""
    sequence = numpy_random().SeedSequence(job_seed, spawn_key=(task, index))
    if isinstance(generator, random.Random):
        generator.seed(int.from_bytes(sequence.generate_state(8).tobytes(), "little"))
        return
    bits = _bits(generator)
    if hasattr(generator, "get_state") and type(bits) is numpy_random().MT19937:  # a RandomState, which also keeps a number drawn ahead
        generator.seed(sequence.generate_state(8))
    else:
        bits.state = type(bits)(sequence).state


def _bits(generator: Any) -> Any:
    """Return the bit generator of one of NumPy's generators."""
    return getattr(generator, "bit_generator", None) or getattr(generator, "_bit_generator", generator)


def get_state(generator: Any) -> Any:
    """Return what `set_state` takes."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state(legacy=False) if hasattr(generator, "get_state") else _bits(generator).state


def set_state(generator: Any, state: Any) -> None:
    """Give a generator a state that `get_state` returned."""
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif hasattr(generator, "set_state"):
        generator.set_state(state)
    else:
        _bits(generator).state = state


class Watch:
    """Shows whether anything was drawn from the global generators. It reads their memory, since `get_state` takes 20 µs."""

    def __init__(self) -> None:
        self.last: tuple[int, ...] | None = None
        """The positions after the last task that may have drawn; None if another task may have drawn since."""
        self._numpys: Any = None
        self._pythons: Any = None

    def positions(self) -> tuple[int, ...]:
        """Return numbers that differ once a global generator was drawn from."""
        if self._numpys is None:
            self._open()
        numpys, pythons = self._numpys, self._pythons
        return numpys[0], numpys[_WORDS], pythons[0], pythons[1]

    def _open(self) -> None:
        own, numpys = global_generators()
        self._numpys = _words(numpys._bit_generator.ctypes.state_address)
        found = _words(id(own) + object.__basicsize__)
        state = own.getstate()[1]
        self._pythons = found if (*found[1:], found[0]) == state else (0, 0)  # this Python lays it out in another way


def _words(address: int) -> Any:
    return memoryview((ctypes.c_uint32 * (_WORDS + 1)).from_address(address)).cast("B").cast("I")
