"""The ranges of every count, id and size in a message. Readers skip a message that has a value outside of them.

A few bytes of a message must not cause much larger costs where it is read. So ids are bounded by the number of things that they name, and
that number is bounded by the size of what was sent (see `most_datasets`).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MAX_IDS = 2**24
"""Most tasks, and most datasets, of one graph. Each takes some 20 bytes in every service."""
MAX_GRAPH_BYTES = 512 << 20
"""Largest size of a graph as JSON."""
FREE_DATASETS = 2**16
"""Datasets that any graph may have, whatever its columns are: a single generator may yield that many."""
DATASETS_PER_ENTRY = 16
"""Additional datasets for each task, each input and each requested output. Every dataset costs each service some 30 bytes."""
MAX_HOSTS = 2**14
"""Most hosts in the table of one job."""
MAX_NESTING = 96
"""Deepest nesting of lists and objects in a message, which itself uses a dozen levels around metadata. Parsers differ in how deep they can
go, and all must accept the same messages."""
MAX_EXACT = 2**53
"""Integers up to here are exact in every language's JSON."""
MAX_ATTEMPT = 2**30
MAX_RETRIES = 1_000
"""Most retries of a task that raised. With pauses of up to 30 s between attempts, they take a working day."""

Id = Annotated[int, Meta(ge=0, lt=MAX_IDS)]
"""A task or a dataset, by its position in the graph."""
ChainId = Annotated[int, Meta(ge=0, lt=2**31)]
Attempt = Annotated[int, Meta(ge=0, lt=MAX_ATTEMPT)]
HostIndex = Annotated[int, Meta(ge=0, lt=MAX_HOSTS)]
"""A host, by its position in a job's host table."""
Length = Annotated[int, Meta(ge=1, le=MAX_IDS)]
"""Number of tasks of a chain."""
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
"""An amount of a resource."""


def most_datasets(n_tasks: int, n_inputs: int, n_asked: int) -> int:
    """Return the most datasets that a graph may declare, from its tasks, inputs (of all tasks together) and requested outputs.

    >>> most_datasets(1, 0, 1)
    65568
    """
    return min(MAX_IDS, FREE_DATASETS + DATASETS_PER_ENTRY * (n_tasks + n_inputs + n_asked))
