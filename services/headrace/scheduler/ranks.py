"""The level and the urgency of each task, from which chains and the plan's order are made.

The order is depth-first in effect, so that datasets live shortly, but needs no search: sources run in the order of the first output that
they lead to, and all other tasks as soon as their last input can be there.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.graph.topology import Topology


class Ranks(NamedTuple):
    """Columns by task. level: the edges on the longest path from a source. urgency: lower runs earlier, and never before an input."""

    level: list[int]
    urgency: list[int]


def rank(topology: Topology) -> Ranks:
    """Compute levels and urgencies. This takes about 0.1 microseconds for an edge and 0.3 for a task."""
    n = topology.n_tasks
    if not len(topology.inputs):
        return Ranks([0] * n, list(range(n)))
    n_inputs = topology.n_inputs.tolist()
    makers = topology.producer[topology.inputs].tolist()
    urgency = _source_order(n_inputs, _first_ends(topology, n_inputs, makers))
    level = [0] * n
    level_of, urgency_of = level.__getitem__, urgency.__getitem__
    position = 0
    for task, count in enumerate(n_inputs):
        if count == 1:
            maker = makers[position]
            level[task] = level[maker] + 1
            urgency[task] = urgency[maker]
        elif count:
            row = makers[position : position + count]
            level[task] = max(map(level_of, row)) + 1
            urgency[task] = max(map(urgency_of, row))
        position += count
    return Ranks(level, urgency)


def _first_ends(topology: Topology, n_inputs: list[int], makers: list[int]) -> list[int]:
    """Find for each task the lowest id among the tasks that it leads to (or itself) and that end a path or produce an output."""
    unknown = topology.n_tasks
    first = [unknown] * topology.n_tasks
    for task in topology.producer[topology.is_output].tolist():
        first[task] = task
    position = len(makers)
    for task in range(topology.n_tasks - 1, -1, -1):
        end = first[task]
        if end == unknown:
            end = first[task] = task
        count = n_inputs[task]
        for maker in makers[position - count : position]:
            if first[maker] > end:
                first[maker] = end
        position -= count
    return first


def _source_order(n_inputs: list[int], first_end: list[int]) -> list[int]:
    """Number the sources by the first end that they lead to, and then by id. Other tasks get 0."""
    sources = [task for task, count in enumerate(n_inputs) if not count]
    sources.sort(key=first_end.__getitem__)
    place = [0] * len(n_inputs)
    for index, task in enumerate(sources):
        place[task] = index
    return place
