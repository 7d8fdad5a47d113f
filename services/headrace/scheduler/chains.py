"""Fusing: tasks that run back to back on one runner, so that what passes between them never leaves its process.

An edge u -> v is fused where u's only dataset has v as its only consumer and was not asked for. Of several such u, v takes the deepest: the
others are ready earlier and can run elsewhere meanwhile. So chains are paths, and only the last task of a chain has successors outside it;
hence the chains, ordered by their last tasks, are in topological order. A generator heads or ends its chain.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Flags, Ids, Offsets, Topology
from headrace.scheduler.ranks import Ranks

SMALL_TASKS = 128
"""Up to so many tasks plain loops are quicker than numpy, whose 30 calls cost about 60 microseconds whatever the size."""


class Chains(NamedTuple):
    """Chains in plan order, a linear extension of the graph between them. lengths: tasks per chain. tasks: concatenated, as they run."""

    lengths: list[int]
    tasks: list[int]


def fuse(topology: Topology, ranks: Ranks, longest: int) -> Chains:
    """The chains of a graph, none longer than `longest` tasks."""
    if not len(topology.inputs):
        return Chains([1] * topology.n_tasks, list(range(topology.n_tasks)))
    if topology.n_tasks <= SMALL_TASKS:
        return _fuse_few(topology, ranks, longest)
    return _fuse_many(topology, ranks, longest)


def _fusible(topology: Topology) -> Flags:
    """Per dataset: whether its edge may be fused: the only dataset of its task, with one consumer, not asked for."""
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
    """Per task: the task that it is fused to, or -1."""
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
    """Per task: the task that is fused to it, or -1."""
    n = topology.n_tasks
    edges = np.flatnonzero(_fusible(topology)[topology.inputs])
    makers = topology.producer[topology.inputs[edges]]
    takers = np.repeat(np.arange(n, dtype=np.int32), topology.n_inputs)[edges]
    # Of repeated indices numpy keeps the last value: that is the deepest maker, and among equals the first input.
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
    """Lengths and tasks of the chains in plan order, from each task's successor. Tails are found by doubling the steps."""
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
