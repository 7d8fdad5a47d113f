"""Which sink an output of a job has."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from headrace_schemas import GraphSpec, SinkSpec


class Sinks(NamedTuple):
    """The sinks of a job: those of single outputs, as in `GraphSpec`, and the one for the others, if there is one."""

    sunk: list[int]
    sink: list[int]
    sinks: list[SinkSpec]
    default: SinkSpec | None

    @classmethod
    def of_job(cls, spec: GraphSpec, default: SinkSpec | None) -> Sinks:
        """Those of a graph, and of the job that it is submitted as."""
        return cls(spec.sunk, spec.sink, spec.sinks, default)

    def __bool__(self) -> bool:
        return self.default is not None or bool(self.sunk)

    def of(self, output: int) -> SinkSpec | None:
        """The sink of an asked-for output. None: it is held for the client."""
        place = bisect_left(self.sunk, output)
        if place < len(self.sunk) and self.sunk[place] == output:
            return self.sinks[self.sink[place]]
        return self.default
