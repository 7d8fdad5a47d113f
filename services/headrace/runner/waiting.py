"""What waits for room in the store while its runner executes other segments: results, and the generators that yielded them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.runner.segments import Segment
from headrace.values import ArrayType, Encoded


class Suspended:
    """A generator task, suspended at its latest yield."""

    __slots__ = ("index", "iterator", "random_states", "segment")

    def __init__(self, segment: Segment, iterator: Iterator[Any]) -> None:
        self.segment = segment
        self.iterator = iterator
        self.index = 0
        """Number of datasets that it has yielded."""
        self.random_states: list[tuple[Any, Any]] = []
        """The generators of random numbers that the task draws from, each with its state at the latest yield."""

    @property
    def outputs(self) -> range:
        """The datasets that the task was declared to make."""
        return self.segment.job.outputs(self.segment.task)

    @property
    def has_yielded_all(self) -> bool:
        """Whether it has yielded as many datasets as its task was declared to make."""
        return self.index == len(self.outputs)


class WaitingResult(msgspec.Struct):
    """A result that was encoded and waits for room."""

    segment: Segment
    place: int
    """Index of its task in the segment."""
    dataset: int
    encoded: Encoded
    metadata: dict[str, Any] | None
    array: ArrayType | None = None
    generator: Suspended | None = None
    """The generator that yielded it, and goes on once it is stored."""

    @property
    def key(self) -> tuple[int, int]:
        """The numbers of job and dataset, by which the agent grants room."""
        return self.segment.job.number, self.dataset
