"""Finds the sink of each output of a job."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from headrace_schemas import GraphSpec, SinkSpec


class Sinks(NamedTuple):
    """The sinks of a job: those of single outputs, as in `GraphSpec`, and the default for the others, if there is one."""

    sunk: list[int]
    sink: list[int]
    sinks: list[SinkSpec]
    default: SinkSpec | None

    @classmethod
    def of_job(cls, spec: GraphSpec, default: SinkSpec | None) -> Sinks:
        """Return the sinks of a graph and of the job that runs it."""
        return cls(spec.sunk, spec.sink, spec.sinks, default)

    def __bool__(self) -> bool:
        return self.default is not None or bool(self.sunk)

    def of(self, output: int) -> SinkSpec | None:
        """Return the sink of a requested output. None: the hosts hold it for the client."""
        place = bisect_left(self.sunk, output)
        if place < len(self.sunk) and self.sunk[place] == output:
            return self.sinks[self.sink[place]]
        return self.default
