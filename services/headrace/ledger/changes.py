"""What changed in a job since somebody last looked: so that deciding takes time in proportion to the batch, not to the graph."""

from __future__ import annotations

from typing import Literal, NamedTuple

from headrace.ledger.columns import NOTHING, Batch, Ints

Name = Literal["done", "moved", "assigned", "needed", "failed", "revoked", "lost", "outputs", "released", "written", "refused"]
"""Of a batch of changes."""


class Touched(NamedTuple):
    """Datasets whose copy on a host came, was lost, or became the home. What went by a purge is not told: nothing follows from it."""

    host: int
    datasets: Ints | list[int]


class Changes:
    """Everything may be named several times; look at the ledger for what is true now. Batches are read here, and added to by `to`.

    done: tasks that are done now. moved: tasks that were placed on another host than before (or on their first).
    assigned: tasks released to a host. needed: tasks that must run (again). revoked: tasks that a host gave back.
    failed: tasks whose attempt failed, or was lost with its host; and again when the pause after that is over.
    touched: where copies came or were lost. lost: datasets without a copy that was not purged (a host lost or dropped it, or says it never
    had it). outputs: asked-for outputs that are available now. released: outputs that need not be kept any more.
    written: outputs in sinks that are to be committed now. refused: outputs that could not be.
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
        """A batch to add to. Most are never added to, so each is made when it is."""
        batch: Batch | None = self.__dict__.get(name)
        if batch is None:
            batch = self.__dict__[name] = Batch()
        return batch

    def __bool__(self) -> bool:
        return any(self.__dict__.values())
