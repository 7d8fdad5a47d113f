"""Arrays that tasks make in the host's store, so that a result is handed over without a copy.

A result must not change, and an array can be written to through anything that still refers to it: a view in a global variable, the frame of
a generator. So a slab is handed over only if nothing in this process refers to its array. Otherwise the array is copied like any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.values import ArrayType, Encoded
from headrace.values.making import Order, Shape
from headrace_shm import Arena, Heap, Slab

HEADROOM = 4096
"""Bytes in front of each array for the rest of its value's encoding: some hundred for an array, a few thousand for one with attributes.
It is a page, since an array whose size is a whole number of pages needs another page even for a few bytes."""


class Result(NamedTuple):
    """A dataset whose encoded value fills a slab."""

    slab: int
    dataset: int
    metadata: dict[str, Any] | None
    array: ArrayType | None


class Slabs:
    """A runner's slabs. ask: gets a slab of so many bytes from the agent. let_go: gets the ids of slabs that are not needed."""

    def __init__(self, arena: Arena, ask: Callable[[int], Slab | None], let_go: Callable[[int], object]) -> None:
        self._heap = Heap(arena, ask, let_go, headroom=HEADROOM, spare=0)
        self._let_go = let_go
        self._pid = os.getpid()
        self.results: list[Result] = []
        """Results of the task that has just ended, to be handed over once the runner has dropped their values."""

    def empty(self, shape: Shape, dtype: npt.DTypeLike, order: Order) -> npt.NDArray[Any]:
        """Return an array as `headrace.empty` does. In a process that a task forked, it is private: there is no agent to ask."""
        if os.getpid() != self._pid:
            return np.empty(shape, dtype, order)
        return self._heap.empty(shape, dtype, order)

    def encode_in_place(self, encoded: Encoded, dataset: int, metadata: dict[str, Any] | None, array: ArrayType | None) -> bool:
        """Write the rest of a value's encoding before its array, if the array fills a slab, and add the value to `results`.

        Returns False if the value must be copied.
        """
        slab = self._heap.find(encoded.only_buffer) if encoded.only_buffer is not None else None
        if slab is None or not encoded.write_before(self._heap.head(slab)):
            return False
        self._heap.keep(slab)
        self.results.append(Result(slab, dataset, metadata, array))
        return True

    def take(self, result: Result) -> Encoded | None:
        """Give up a result's slab, and return None. If something here still refers to the array, return the value, to be copied."""
        array = self._heap.take(result.slab)
        if array is None:
            return None
        head = bytes(self._heap.head(result.slab))
        return Encoded(head, (array,), len(head) + array.nbytes)

    def forget(self) -> None:
        """Drop the results, since their task failed."""
        for result in self.results:
            if self._heap.take(result.slab) is None:
                self._let_go(result.slab)
        self.results.clear()

    def collect(self) -> None:
        """Give back the slabs whose arrays are gone."""
        self._heap.trim()
