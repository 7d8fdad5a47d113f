"""Fusion of tasks into chains, which run back to back on one runner, so that the datasets within a chain never leave its process.

An edge u -> v is fused if u's only dataset has v as its only consumer and is not a requested output. Of several such u, v is fused with the
deepest one: the others are ready earlier and can run elsewhere meanwhile. So chains are paths, and only the last task of a chain has
successors outside. Hence the chains are in topological order if they are sorted by their last tasks. A generator is the first or the last
task of its chain.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Flags, Ids, Offsets, Topology
from headrace.scheduler.ranks import Ranks

SMALL_TASKS = 128
"""Up to this number of tasks, plain loops are faster than numpy, whose 30 calls cost about 60 microseconds at any size."""


class Chains(NamedTuple):
    """Chains in plan order, which is a topological order. lengths: in tasks. tasks: concatenated, in the order in which they run."""

    lengths: list[int]
    tasks: list[int]


def fuse(topology: Topology, ranks: Ranks, longest: int) -> Chains:
    """Fuse the tasks of a graph into chains of at most `longest` tasks."""
    if not len(topology.inputs):
        return Chains([1] * topology.n_tasks, list(range(topology.n_tasks)))
    if topology.n_tasks <= SMALL_TASKS:
        return _fuse_few(topology, ranks, longest)
    return _fuse_many(topology, ranks, longest)


def _fusible(topology: Topology) -> Flags:
    """Tell for each dataset whether its edge may be fused: it is the only one of its task, has one consumer, and is not an output."""
    alone = topology.n_outputs == 1
    fusible: Flags = (topology.n_consumers == 1) & ~topology.is_output & alone[topology.producer]
    return fusible


# --- loops, for small graphs ----------------------------------------------------------------------------------------


def _fuse_few(topology: Topology, ranks: Ranks, longest: int) -> Chains:
    before = _predecessors_few(topology, ranks)
    chain_of: dict[int, list[int]] = {}
    for task, previous in enumerate(before):
        chain = chain_of.pop(previous, None) if previous >= 0 else None
        if chain is None or len(chain) == longest:
            if chain is not None:
                chain_of[previous] = chain
            chain = []
        chain.append(task)
        chain_of[task] = chain
    order = sorted(chain_of, key=lambda tail: (ranks.urgency[tail], tail))
    return Chains([len(chain_of[tail]) for tail in order], [task for tail in order for task in chain_of[tail]])


def _predecessors_few(topology: Topology, ranks: Ranks) -> list[int]:
    """Return for each task the task before it in its chain, or -1."""
    fusible, producer, generator = _fusible(topology).tolist(), topology.producer.tolist(), topology.is_generator.tolist()
    inputs, start, level = topology.inputs.tolist(), topology.input_start.tolist(), ranks.level
    before = [-1] * topology.n_tasks
    for task in range(topology.n_tasks):
        makers = [producer[d] for d in inputs[start[task] : start[task + 1]] if fusible[d]]
        if makers:
            before[task] = max(makers, key=level.__getitem__)
    for previous in [p for p in before if p >= 0 and generator[p]]:
        before[previous] = -1
    return before


# --- numpy, for large ones ------------------------------------------------------------------------------------------


def _fuse_many(topology: Topology, ranks: Ranks, longest: int) -> Chains:
    following = _successors_many(topology, np.array(ranks.level, dtype=np.int32))
    urgency = np.array(ranks.urgency, dtype=np.int32)
    lengths, tasks = _collect(following, urgency)
    if lengths.max() > longest:
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        following[tasks[(np.arange(len(tasks)) - starts) % longest == longest - 1]] = -1
        lengths, tasks = _collect(following, urgency)
    return Chains(lengths.tolist(), tasks.tolist())


def _successors_many(topology: Topology, level: Ids) -> Ids:
    """Return for each task the task after it in its chain, or -1."""
    n = topology.n_tasks
    edges = np.flatnonzero(_fusible(topology)[topology.inputs])
    makers = topology.producer[topology.inputs[edges]]
    takers = np.repeat(np.arange(n, dtype=np.int32), topology.n_inputs)[edges]
    # numpy keeps the last value of repeated indices. So the deepest producer comes last, and among equals that of the first input.
    deepest_last = np.argsort(level[makers[::-1]], kind="stable")
    before = np.full(n, -1, dtype=np.int32)
    before[takers[::-1][deepest_last]] = makers[::-1][deepest_last]
    followed = before[before >= 0]
    before[followed[topology.is_generator[followed]]] = -1
    following = np.full(n, -1, dtype=np.int32)
    fused = np.flatnonzero(before >= 0)
    following[before[fused]] = fused
    return following


def _collect(following: Ids, urgency: Ids) -> tuple[Offsets, Ids]:
    """Collect chains in plan order from each task's successor. Returns their lengths and tasks. Pointer doubling finds the last tasks."""
    tail = np.where(following >= 0, following, np.arange(len(following), dtype=np.int32))
    while True:
        further = tail[tail]
        if np.array_equal(further, tail):
            break
        tail = further
    tails = np.flatnonzero(following < 0)
    place = np.empty(len(following), dtype=np.int32)
    place[tails[np.argsort(urgency[tails], kind="stable")]] = np.arange(len(tails), dtype=np.int32)
    chain_of = place[tail]
    return np.bincount(chain_of), np.argsort(chain_of, kind="stable").astype(np.int32)
