"""The datasets that chains take from outside themselves, in the order in which assignments name the sources."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Topology
from headrace.ledger.columns import Ints, ranges


class Outside(NamedTuple):
    """The inputs that chains take from outside themselves. counts: the number for each chain. datasets: all of them, in task order."""

    counts: Ints
    datasets: Ints


def outside(topology: Topology, lengths: Ints, tasks: Ints) -> Outside:
    """Find the inputs of chains that come from outside. lengths: tasks of each chain. tasks: those of all chains, concatenated.

    An input comes from inside its chain if the task just before produces it: fused tasks have one dataset with one consumer.
    """
    if not len(topology.inputs):
        return Outside(np.zeros_like(lengths), topology.inputs)
    counts = topology.n_inputs[tasks]
    datasets = topology.inputs[ranges(topology.input_start[tasks], counts)]
    before = np.empty_like(tasks)
    before[1:] = tasks[:-1]
    before[np.cumsum(lengths) - lengths] = -1
    comes_from_outside = topology.producer[datasets] != np.repeat(before, counts)
    ends = np.zeros(len(datasets) + 1, dtype=np.int64)
    np.cumsum(comes_from_outside, out=ends[1:])
    per_chain = ends[np.cumsum(counts)[np.cumsum(lengths) - 1]]
    return Outside(np.diff(per_chain, prepend=0), datasets[comes_from_outside])
