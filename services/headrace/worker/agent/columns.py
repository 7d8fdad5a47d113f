"""What a host looks up of a graph, as plain lists: it asks for single tasks and datasets, for which a list takes a fraction of an array's
time.

Nobody changes them, so jobs of the same small shape share them: most small jobs are of few shapes, a single task above all, and to make
the columns took most of the time that such a job takes on a host.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Offsets, Topology
from headrace_schemas import GraphSpec

FEW = 64
"""Tasks, datasets and edges together, up to which a graph's columns are kept for the next of its shape."""
MOST_KEPT = 256
"""Shapes that are kept: a few MB at most."""

_kept: dict[tuple[object, ...], Columns] = {}


class Columns(NamedTuple):
    """The columns of a graph.

    input_start, first_output, producer, is_output: as in `Topology`.
    uses_inside: per dataset how many tasks of its own chain must take it for it to stay in there; 0 if it cannot.
    is_taken: per dataset whether tasks come for its value, and not just whoever reads what is reported.
    is_needed: per task whether anyone may come for one of its datasets: another task, or the client.
    """

    input_start: list[int]
    first_output: list[int]
    producer: list[int]
    is_output: list[bool]
    uses_inside: list[int]
    is_taken: list[bool]
    is_needed: list[bool]

    @classmethod
    def of(cls, spec: GraphSpec, topology: Topology) -> Columns:
        """Those of a graph that was validated, with this topology."""
        if topology is Topology.of_one_task():
            return _of_one_task()
        if spec.n_tasks + len(spec.inputs) + sum(spec.n_outputs) > FEW:
            return cls._make_of(topology)
        shape = (spec.n_tasks, *map(tuple, (spec.n_outputs, spec.n_inputs, spec.inputs, spec.outputs)))
        found = _kept.get(shape)
        if found is None:
            if len(_kept) == MOST_KEPT:
                _kept.clear()
            found = _kept[shape] = cls._make_of(topology)
        return found

    @classmethod
    def _make_of(cls, topology: Topology) -> Columns:
        needed = topology.is_output | (topology.n_consumers > 0)
        return cls(
            topology.input_start.tolist(),
            topology.first_output.tolist(),
            topology.producer.tolist(),
            topology.is_output.tolist(),
            _uses_inside(topology).tolist(),
            ((topology.n_consumers > 0) | ~topology.is_output).tolist(),
            np.logical_or.reduceat(needed, topology.first_output[:-1]).tolist(),
        )


@cache
def _of_one_task() -> Columns:
    """Those of the graph that the services see most often: it needs no key."""
    return Columns._make_of(Topology.of_one_task())


def _uses_inside(topology: Topology) -> Offsets:
    """Only what its task makes alone, and nobody asked for, may stay in a chain."""
    alone = topology.n_outputs[topology.producer] == 1
    return np.where(alone & ~topology.is_output, topology.n_consumers, 0)
