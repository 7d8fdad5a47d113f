"""The columns of a graph that a host reads, as plain lists.

A host reads single tasks and datasets, for which a list takes a fraction of the time of an array.

Nobody changes these lists, so jobs of the same small shape share them. Most small jobs have one of a few shapes, above all that of a single
task, and making the columns took most of a host's time for such a job.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Offsets, Topology
from headrace_schemas import GraphSpec

FEW = 64
"""The largest sum of tasks, datasets and edges of a graph whose columns are kept for the next graph of its shape."""
MOST_KEPT = 256
"""The number of shapes whose columns are kept: a few MB at most."""

_kept: dict[tuple[object, ...], Columns] = {}


class Columns(NamedTuple):
    """The columns of a graph.

    input_start, first_output, producer, is_output: as in `Topology`.

    uses_inside: per dataset, the number of its consumers, all of which must be in its chain for it to stay there; 0 if it always leaves the
    chain.

    is_taken: per dataset, whether tasks take its value; False for an output that only clients read.

    is_needed: per task, whether another task or the client takes one of its datasets.
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
        """Return the columns of a validated graph with this topology."""
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
    """Return the columns of a graph of one task. The services see it most often, so it is found without a key."""
    return Columns._make_of(Topology.of_one_task())


def _uses_inside(topology: Topology) -> Offsets:
    """Return `Columns.uses_inside`: only the sole dataset of a task, which is no output of the job, may stay in its chain."""
    alone = topology.n_outputs[topology.producer] == 1
    return np.where(alone & ~topology.is_output, topology.n_consumers, 0)
