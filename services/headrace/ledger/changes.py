"""What changed in a job since somebody last looked: so that deciding takes time in proportion to the batch, not to the graph."""

from __future__ import annotations

from typing import NamedTuple

from headrace.ledger.columns import Batch, Ints


class Touched(NamedTuple):
    """Datasets whose copy on a host came, was lost, or became the home. What went by a purge is not told: nothing follows from it."""

    host: int
    datasets: Ints | list[int]


class Changes:
    """Everything may be named several times; look at the ledger for what is true now.

    done: tasks that are done now. moved: tasks that were placed on another host than before (or on their first).
    assigned: tasks released to a host. needed: tasks that must run (again). revoked: tasks that a host gave back.
    failed: tasks whose attempt failed, or was lost with its host.
    touched: where copies came or were lost. lost: datasets without a copy that was not purged (a host lost or dropped it, or says it never
    had it). outputs: asked-for outputs that are available now. released: outputs that need not be kept any more.
    written: outputs in sinks that are to be committed now. refused: outputs that could not be.
    """

    done: Batch
    moved: Batch
    assigned: Batch
    needed: Batch
    failed: Batch
    revoked: Batch
    lost: Batch
    outputs: Batch
    released: Batch
    written: Batch
    refused: Batch

    def __init__(self) -> None:
        self.touched: list[Touched] = []

    def __getattr__(self, name: str) -> Batch:
        """A batch that nothing was added to yet. Most never are, so they are made when they are looked at."""
        if name not in Changes.__annotations__:
            raise AttributeError(name)
        batch = self.__dict__[name] = Batch()
        return batch

    def __bool__(self) -> bool:
        return any(self.__dict__.values())
