"""The ranges of everything that a message counts, names or measures. A reader passes over a message that has anything outside of them.

What is declared in a few bytes must not cost much more where it is read: so ids are bounded by how many there can be, and how many
there can be by what was sent (see `most_datasets`).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MAX_IDS = 2**24
"""Tasks, or datasets, of one graph: some 20 bytes each in every service."""
MAX_GRAPH_BYTES = 512 << 20
"""Of a graph as JSON."""
FREE_DATASETS = 2**16
"""Datasets that any graph may have, whatever its columns are: a single generator may yield so many."""
DATASETS_PER_ENTRY = 16
"""Datasets more for each task, each input and each output that is asked for. Every dataset costs each service some 30 bytes."""
MAX_HOSTS = 2**14
"""Hosts in the table of one job."""
MAX_NESTING = 96
"""Lists and objects inside one another in a message, which has a dozen levels of its own around metadata. Readers differ in how much
deeper they can go, and all must read the same."""
MAX_EXACT = 2**53
"""Integers up to here are exact in every language's JSON."""
MAX_ATTEMPT = 2**30
MAX_RETRIES = 1_000
"""Of a task that raised. With pauses of up to 30 s between attempts, that is a working day of trying."""

Id = Annotated[int, Meta(ge=0, lt=MAX_IDS)]
"""A task or a dataset, by its place in the graph."""
ChainId = Annotated[int, Meta(ge=0, lt=2**31)]
Attempt = Annotated[int, Meta(ge=0, lt=MAX_ATTEMPT)]
HostIndex = Annotated[int, Meta(ge=0, lt=MAX_HOSTS)]
"""A host, by its place in a job's table."""
Length = Annotated[int, Meta(ge=1, le=MAX_IDS)]
"""Tasks of a chain."""
Count = Annotated[int, Meta(ge=0, le=MAX_EXACT)]
Size = Annotated[int, Meta(ge=0, le=MAX_EXACT)]
"""Bytes, or elements along a dimension."""
Stamp = Annotated[int, Meta(ge=0, le=MAX_EXACT)]
"""A sequence of a stream, a revision of a lease, or an epoch of a host."""
Version = Annotated[int, Meta(ge=0, lt=2**31)]
Seconds = Annotated[float, Meta(ge=0, le=1e15)]
Moment = Annotated[float, Meta(ge=0, le=2.5e11)]
"""Seconds since 1970, up to the year 9892."""
Amount = Annotated[float, Meta(gt=0, le=1e18)]
"""Of a resource."""


def most_datasets(n_tasks: int, n_inputs: int, n_asked: int) -> int:
    """How many datasets a graph may declare that has so many tasks, inputs (of all tasks together) and outputs asked for.

    >>> most_datasets(1, 0, 1)
    65568
    """
    return min(MAX_IDS, FREE_DATASETS + DATASETS_PER_ENTRY * (n_tasks + n_inputs + n_asked))
