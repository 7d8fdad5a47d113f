"""The resources that the tasks of a frozen graph need, grouped into few kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from headrace.graph.resources import Resources, fits
from headrace.graph.topology import Ids, Topology
from headrace_schemas.graph import GraphSpec


class Needs(NamedTuple):
    """The resources that the tasks of a graph need.

    kinds: the distinct needs; the first one is empty. of_function: the kind of each function.
    """

    kinds: list[Resources]
    of_function: list[int]

    @classmethod
    def of(cls, spec: GraphSpec) -> Needs | None:
        """Return the needs of a graph; None if no task needs anything, which is the usual case."""
        kinds: list[Resources] = [{}]
        for function in spec.functions:
            if function.resources and function.resources not in kinds:
                kinds.append(function.resources)
        if len(kinds) == 1:
            return None
        return cls(kinds, [kinds.index(function.resources) for function in spec.functions])

    def of_tasks(self, topology: Topology) -> Ids:
        """Return the kind of each task."""
        return np.array(self.of_function, dtype=np.int32)[topology.function]

    def missing(self, hosts: Iterable[Resources]) -> list[int]:
        """Return the kinds that none of these hosts can satisfy."""
        every = list(hosts)
        return [kind for kind, need in enumerate(self.kinds) if not any(fits(need, has) for has in every)]
