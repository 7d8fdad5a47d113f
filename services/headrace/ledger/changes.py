"""The changes of a job since they were last taken, so that a decision takes time in proportion to the batch, not to the graph."""

from __future__ import annotations

from typing import Literal, NamedTuple

from headrace.ledger.columns import NOTHING, Batch, Ints

Name = Literal["done", "moved", "assigned", "needed", "failed", "revoked", "lost", "outputs", "released", "written", "refused"]
"""The name of a batch of changes."""


class Touched(NamedTuple):
    """Datasets whose copy on a host was added, was lost, or became the home. Purged copies are left out: no decision depends on them."""

    host: int
    datasets: Ints | list[int]


class Changes:
    """The ids of tasks and datasets that changed. An id may occur several times, and the ledger has its present state.

    done: tasks that are done. moved: tasks that were placed on a host for the first time, or on another one. assigned: tasks that were
    released to a host. needed: tasks that must run, or run again. revoked: tasks that a host gave back. failed: tasks whose attempt failed
    or was lost with its host, and once more when the pause after the failure is over.
    lost: datasets without a copy that were not purged: a host was lost with them, or reported that it does not have them.
    outputs: requested outputs that became available. released: outputs that need no longer be kept. written: outputs in sinks that are
    ready to be committed. refused: outputs that could not be committed. touched: copies that were added or lost.
    """

    done: Batch = NOTHING
    moved: Batch = NOTHING
    assigned: Batch = NOTHING
    needed: Batch = NOTHING
    failed: Batch = NOTHING
    revoked: Batch = NOTHING
    lost: Batch = NOTHING
    outputs: Batch = NOTHING
    released: Batch = NOTHING
    written: Batch = NOTHING
    refused: Batch = NOTHING

    def __init__(self) -> None:
        self.touched: list[Touched] = []

    def to(self, name: Name) -> Batch:
        """Return the batch of this name to add ids to. It is made at the first call, since most batches stay empty."""
        batch: Batch | None = self.__dict__.get(name)
        if batch is None:
            batch = self.__dict__[name] = Batch()
        return batch

    def __bool__(self) -> bool:
        return any(self.__dict__.values())
