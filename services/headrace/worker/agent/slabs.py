"""Slabs: blocks that runners fill before anybody knows for which dataset.

    granted to a runner --returned as a result--> a dataset's block, sealed
            |
            +-- its array is gone, or the runner: free

A slab counts as used memory from the start, and stays where it is while it is written. It is the runner's, not a job's: an array that a
task has put away keeps its slab after the job, for something may still write there.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable

from headrace.runner.protocol import NEVER, GrantSlab
from headrace_shm import Block, Store
from headrace_shm.errors import TooLarge


class Slabs:
    """The books of the slabs that runners fill."""

    def __init__(self, store: Store[int]) -> None:
        self._store = store
        self._blocks: dict[int, Block[int]] = {}
        self._keys = itertools.count(-1, -1)
        """Names in the store; those of datasets' blocks are positive."""

    def grant(self, client: Hashable, nbytes: int) -> GrantSlab:
        """Room for a runner, if there is some now: it does not wait, for it can do without."""
        try:
            block = self._store.allocate(next(self._keys), nbytes, client)
        except TooLarge:
            block = None
        if block is None:
            return GrantSlab(0, NEVER, 0)
        self._blocks[block.id] = block
        return GrantSlab(block.id, block.offset, block.nbytes)

    def take(self, client: Hashable, block_id: int) -> Block[int] | None:
        """A runner returned this slab. Returns its block, to be sealed or aborted; None if the runner has no such slab."""
        block = self._blocks.get(block_id)
        if block is None or block.writer != client:
            return None
        return self._blocks.pop(block_id)

    def drop(self, client: Hashable, block_id: int) -> int:
        """A runner does not need this slab any more. Returns the bytes freed: 0 if the runner has no such slab."""
        block = self.take(client, block_id)
        return 0 if block is None else self._store.abort(block.id)

    def runner_died(self, client: Hashable) -> None:
        """The store has taken back what a runner was filling."""
        self._blocks = {id: block for id, block in self._blocks.items() if block.writer != client}
