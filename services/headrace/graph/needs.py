"""What the tasks of a frozen graph need of their hosts, by few kinds of needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from headrace.graph.resources import Resources, fits
from headrace.graph.topology import Ids, Topology
from headrace_schemas.graph import GraphSpec


class Needs(NamedTuple):
    """What the tasks of a graph need. kinds: the different needs, the first of which is nothing. of_function: per function, its kind."""

    kinds: list[Resources]
    of_function: list[int]

    @classmethod
    def of(cls, spec: GraphSpec) -> Needs | None:
        """Those of a graph; None where no task needs anything, as in most."""
        kinds: list[Resources] = [{}]
        for function in spec.functions:
            if function.resources and function.resources not in kinds:
                kinds.append(function.resources)
        if len(kinds) == 1:
            return None
        return cls(kinds, [kinds.index(function.resources) for function in spec.functions])

    def of_tasks(self, topology: Topology) -> Ids:
        """Per task: its kind."""
        return np.array(self.of_function, dtype=np.int32)[topology.function]

    def missing(self, hosts: Iterable[Resources]) -> list[int]:
        """The kinds that none of these hosts can take."""
        every = list(hosts)
        return [kind for kind, need in enumerate(self.kinds) if not any(fits(need, has) for has in every)]
