"""Segments: tasks of one chain that a runner executes back to back, and the inputs that the agent sends with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.runner import protocol

if TYPE_CHECKING:
    from headrace.runner.job import RunnerJob


class Segment:
    """Tasks to execute back to back, and their inputs from outside the chain."""

    __slots__ = ("attempts", "chain", "ended", "id", "inputs", "job", "leaves", "locations", "number", "place", "puts", "tasks")

    def __init__(self, job: RunnerJob, id: int, chain: int, tasks: list[int], leaves: list[int], number: int = 0) -> None:
        self.job = job
        self.id = id
        self.chain = chain
        self.tasks = tasks
        self.leaves = leaves
        self.number = number
        """Its number in the order in which the agent sent this runner its segments."""
        self.attempts: Sequence[int] = ()
        self.inputs: Sequence[int] = ()
        self.locations: Sequence[protocol.Location] = ()
        self.place = 0
        """Index of the task that is executed, or whose result is stored."""
        self.puts = 0
        """Number of results that wait for room."""
        self.ended = False
        """Whether its tasks were executed without a failure. The last one may be a generator that is suspended."""

    @property
    def task(self) -> int:
        """The task that is executed, or whose result is stored."""
        return self.tasks[self.place]

    @property
    def attempt(self) -> int:
        """Number of the attempt at that task."""
        return self.attempts[self.place] if self.attempts else 0

    def drop_inputs(self, let_go: deque[int]) -> None:
        """Forget the inputs that were not decoded, and append the blocks that hold them to `let_go`."""
        let_go.extend(blocks_in(self.locations))
        self.locations = ()


def blocks_in(locations: Sequence[protocol.Location]) -> list[int]:
    """Return the blocks that hold inputs, once for each input."""
    return [location[0] for location in locations if not isinstance(location, bytes)]


def segments_of(job: RunnerJob, frame: protocol.Run) -> list[Segment]:
    """Cut the columns of a Run into segments."""
    segments, task, given = [], 0, 0
    columns = zip(frame.segments, frame.chains, frame.lengths, frame.counts, strict=True)
    for number, (id, chain, length, count) in enumerate(columns, frame.first):
        end = task + length
        segment = Segment(job, id, chain, frame.tasks[task:end], frame.leaves[task:end], number)
        if frame.attempts:
            segment.attempts = frame.attempts[task:end]
        if count:
            segment.inputs = frame.inputs[given : given + count]
            segment.locations = frame.locations[given : given + count]
            given += count
        task = end
        segments.append(segment)
    return segments
