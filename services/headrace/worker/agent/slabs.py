"""Slabs: blocks that runners fill before it is known which dataset they will hold.

    granted to a runner --returned as a result--> a dataset's block, sealed
            |
            +-- the runner drops its array, or dies: free

A slab counts as used memory from the start, and does not move while it is written. It belongs to the runner, not to a job: an array that a
task has stored somewhere keeps its slab after the job, because code may still write to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable

from headrace.runner.protocol import NEVER, GrantSlab
from headrace_shm import Block, Store
from headrace_shm.errors import TooLarge


class Slabs:
    """The slabs that runners fill."""

    def __init__(self, store: Store[int]) -> None:
        self._store = store
        self._blocks: dict[int, Block[int]] = {}
        self._keys = itertools.count(-1, -1)
        """Names in the store. They are negative; those of datasets' blocks are positive."""

    def grant(self, client: Hashable, nbytes: int) -> GrantSlab:
        """Grant a runner a slab if there is memory now. The runner does not wait, because it can use private memory instead."""
        try:
            block = self._store.allocate(next(self._keys), nbytes, client)
        except TooLarge:
            block = None
        if block is None:
            return GrantSlab(0, NEVER, 0)
        self._blocks[block.id] = block
        return GrantSlab(block.id, block.offset, block.nbytes)

    def take(self, client: Hashable, block_id: int) -> Block[int] | None:
        """Take a slab that a runner returned. Return its block, to be sealed or aborted; None if the runner has no such slab."""
        block = self._blocks.get(block_id)
        if block is None or block.writer != client:
            return None
        return self._blocks.pop(block_id)

    def drop(self, client: Hashable, block_id: int) -> int:
        """Free a slab that a runner no longer needs. Return the bytes freed: 0 if the runner has no such slab."""
        block = self.take(client, block_id)
        return 0 if block is None else self._store.abort(block.id)

    def runner_died(self, client: Hashable) -> None:
        """Forget a dead runner's slabs, which the store has freed."""
        self._blocks = {id: block for id, block in self._blocks.items() if block.writer != client}
