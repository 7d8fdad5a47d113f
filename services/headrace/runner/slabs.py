"""Arrays that tasks make in the host's store, and those of them that become results where they are.

A result must not change any more, and an array that a task made can be written to by whatever still refers to it: a view in a global
variable, the frame of a generator. So its slab is handed over only once nothing in this process refers to the array; until then it is
as private as any, and if it stays so, it is copied like any.
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
A page, since an array whose size is a whole number of pages needs one more for however little."""


class Result(NamedTuple):
    """A dataset whose value lies in a slab, complete."""

    slab: int
    dataset: int
    metadata: dict[str, Any] | None
    array: ArrayType | None


class Slabs:
    """A runner's slabs."""

    def __init__(self, arena: Arena, ask: Callable[[int], Slab | None], let_go: Callable[[int], object]) -> None:
        self._heap = Heap(arena, ask, let_go, headroom=HEADROOM, spare=0)
        self._let_go = let_go
        self._pid = os.getpid()
        self.results: list[Result] = []
        """Of the task that has just ended: to be handed over when its values are gone here."""

    def empty(self, shape: Shape, dtype: npt.DTypeLike, order: Order) -> npt.NDArray[Any]:
        """See `headrace.empty`. A process that a task forked has no agent to ask."""
        if os.getpid() != self._pid:
            return np.empty(shape, dtype, order)
        return self._heap.empty(shape, dtype, order)

    def encode_in_place(self, encoded: Encoded, dataset: int, metadata: dict[str, Any] | None, array: ArrayType | None) -> bool:
        """Complete a value around its array, if that fills a slab. It waits in `results` then. False if it must be copied."""
        slab = self._heap.find(encoded.only_buffer) if encoded.only_buffer is not None else None
        if slab is None or not encoded.write_before(self._heap.head(slab)):
            return False
        self._heap.keep(slab)
        self.results.append(Result(slab, dataset, metadata, array))
        return True

    def take(self, result: Result) -> Encoded | None:
        """Hand a result's slab over: None. Where something here still refers to its array: what to copy."""
        array = self._heap.take(result.slab)
        if array is None:
            return None
        head = bytes(self._heap.head(result.slab))
        return Encoded(head, (array,), len(head) + array.nbytes)

    def forget(self) -> None:
        """The task failed, and so its results are none."""
        for result in self.results:
            if self._heap.take(result.slab) is None:
                self._let_go(result.slab)
        self.results.clear()

    def collect(self) -> None:
        """Give back the slabs whose arrays are gone."""
        self._heap.trim()
