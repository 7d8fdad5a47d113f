"""A store that moves the least recently used blocks to disk when memory is short, and brings them back when they are needed.

    named and in memory  <---- restore, hold, get ----  named and on disk
            |                                                ^
            +---------------- make_room, allocate -----------+
                 sealed and unheld, least recently used first

`SpillingStore` is a `Store`: what worked with one works with the other. A key that is on disk is still there for `in`, `keys` and
`purge`; `hold` and `get` bring it back first, as a new block with a new id and place. Which block goes first is `zict.LRU`'s business: it
lists exactly the blocks that may go, in the order in which they were sealed or their last hold was released.

Spilling and restoring happen at once, in the thread that calls: a disk write of the size of the blocks that go. All else is bookkeeping.
"""

import math
from collections.abc import Hashable, Iterator, MutableMapping
from typing import Any, NamedTuple, TypeVar

from zict import LRU

from .allocator import ALIGNMENT, LARGE, PAGE, round_up
from .arena import Arena
from .errors import ArenaFull, KeyExists, SpillFailed
from .spill import Spill
from .store import Block, Store

K = TypeVar("K", bound=Hashable)

SPILL = "spill"
"""The writer, in the books, of blocks that come back from disk."""


class OnDisk(NamedTuple):
    """The place of a spilled block: its key in the mapping on disk, and its size in bytes."""

    name: str
    nbytes: int


class SpillingStore(Store[K]):
    """A store with more room than memory.

    >>> import numpy as np
    >>> arena = Arena.create(4 << 20)
    >>> store = SpillingStore(1 << 20, arena, Spill())
    >>> for key in ("a", "b", "c"):                          # three blocks of 512 KiB in 1 MiB
    ...     block = store.allocate(key, 1 << 19, writer="me")
    ...     arena.reserve(block.offset, block.nbytes)
    ...     arena.writable(block.offset, block.nbytes)[:] = key.encode() * (1 << 19)
    ...     _ = store.seal(key)
    >>> store.on_disk("a"), store.on_disk("b"), store.spilled
    (True, False, 524288)
    >>> block = store.hold("a", "me")                        # "a" comes back, and "b" goes
    >>> bytes(arena.writable(block.offset, 3)), store.on_disk("b")
    (b'aaa', True)
    """

    def __init__(self, capacity: int, arena: Arena, disk: MutableMapping[str, Any]) -> None:
        """Make an empty store.

        Args:
            capacity: bytes that blocks in memory may take together.
            arena: the memory, at least twice as large. It stays the caller's to close.
            disk: where spilled blocks go: a `Spill`, or any mapping from `str` to bytes, such as `zict.File`, or a `zict.Func` that
                compresses in front of one. It stays the caller's to close.

        Raises:
            ValueError: as for `Store`.
        """
        super().__init__(capacity, arena.address_space)
        self._arena = arena
        self._disk = disk
        self._on_disk: dict[K, OnDisk] = {}
        self._idle: LRU[K, Block[K]] = LRU(math.inf, {}, on_evict=self._write, weight=_size)
        self.spilled = 0
        """Bytes of blocks that are on disk now."""
        self.spills = 0
        """Bytes written to disk so far: a measure of memory pressure."""
        self.spill_error: SpillFailed | None = None
        """Error of the last attempt to spill; None if it succeeded. While spilling fails, the store has only its memory."""

    @property
    def idle(self) -> int:
        """Bytes, among `used`, that could be spilled: sealed, named, and held by nobody."""
        return int(self._idle.total_weight)

    def on_disk(self, key: K) -> bool:
        """Return whether the key's block was spilled and not restored since."""
        return key in self._on_disk

    def __len__(self) -> int:
        """Return the number of keys that name a block, in memory or on disk."""
        return super().__len__() + len(self._on_disk)

    def __contains__(self, key: object) -> bool:
        """Return whether `key` names a block, in memory or on disk."""
        return super().__contains__(key) or key in self._on_disk

    def keys(self) -> Iterator[K]:
        """Yield the keys that name a block: those in memory, then those on disk."""
        yield from super().keys()
        yield from self._on_disk

    # --- making room, and coming back -------------------------------------------------------------------------------

    def make_room(self, nbytes: int) -> list[K]:
        """Spill the blocks used least recently until `nbytes` more may be allocated within the capacity.

        Returns the keys that went to disk, in that order: fewer than needed, but all, if there are not enough idle blocks.

        Raises:
            SpillFailed: the disk did not take one. Those before it are spilled, it and those after it are as they were.
        """
        wanted = min(_rounded(nbytes), self.capacity)
        gone: list[K] = []
        while self.free < wanted and self._idle:
            gone.append(self._spill_one())
        return gone

    def restore(self, key: K, *, overcommit: bool = False) -> Block[K] | None:
        """Bring a block back from disk, spilling others for it; one that is in memory counts as used just now.

        Returns the block, or None where there is no room at present: with `overcommit`, only where the address space is used up.

        Raises:
            UnknownKey: the key names nothing.
            SpillFailed: the disk cannot be read. The block stays there.
            ArenaFull: the file system behind the arena is full. The block stays on disk.
        """
        where = self._on_disk.get(key)
        if where is None:
            here = super().get(key)
            if key in self._idle:
                self._idle[key] = here
            return here
        block = self._place(key, where.nbytes, SPILL, overcommit)
        if block is None:
            return None
        try:
            self._read(where.name, block)
        except BaseException:
            self.abort(block.id)
            raise
        self._forget(key)
        return self.seal(key)

    # --- the store's own, with the disk behind it -------------------------------------------------------------------

    def allocate(self, key: K, nbytes: int, writer: Hashable, *, overcommit: bool = False) -> Block[K] | None:
        """As `Store.allocate`; where memory is short, idle blocks are spilled if that makes room enough.

        A disk that fails is no error here: there is no room then (None), and `spill_error` says why.
        """
        if key in self._on_disk:
            raise KeyExists(f"{key!r} names a block that was spilled: purge it before allocating it again")
        return self._place(key, nbytes, writer, overcommit)

    def get(self, key: K) -> Block[K]:
        """As `Store.get`; a block that was spilled comes back first, beyond the capacity if need be.

        Raises:
            UnknownKey, SpillFailed, ArenaFull: as for `restore`; ArenaFull also where the address space is used up.
        """
        if key not in self._on_disk:
            return super().get(key)
        block = self.restore(key, overcommit=True)
        if block is None:
            raise ArenaFull(f"the address space is used up, so {key!r} cannot come back from disk: release some blocks, or make it larger")
        return block

    def seal(self, key: K) -> Block[K]:
        """As `Store.seal`; from now on the block may be spilled while nobody holds it."""
        block = super().seal(key)
        self._note(block)
        return block

    def hold(self, key: K, client: Hashable, count: int = 1, *, unsealed: bool = False) -> Block[K]:
        """As `Store.hold`; a block that was spilled comes back first, as `get` does it. None is spilled while it is held."""
        block = super().hold(key, client, count, unsealed=unsealed)
        self._idle.discard(key)
        return block

    def release(self, block_id: int, client: Hashable, count: int = 1) -> int:
        """Release as `Store.release` does. A block that nobody holds afterwards counts as used just now."""
        freed = super().release(block_id, client, count)
        block = self._blocks.get(block_id)
        if block is not None:
            self._note(block)
        return freed

    def purge(self, key: K) -> int:
        """As `Store.purge`; what was on disk goes from there. Returns the bytes of memory freed."""
        if key in self._on_disk:
            self._forget(key)
            return 0
        freed = super().purge(key)
        self._idle.discard(key)
        return freed

    def client_died(self, client: Hashable) -> list[Block[K]]:
        """As `Store.client_died`."""
        held = self.held_by(client)
        freed = super().client_died(client)
        for block_id in held:
            block = self._blocks.get(block_id)
            if block is not None:
                self._note(block)
        return freed

    # --- inside -----------------------------------------------------------------------------------------------------

    def _note(self, block: Block[K]) -> None:
        """List a block among the idle ones if it belongs there now."""
        if block.sealed and block.named and not block.holds and block.key not in self._idle:
            self._idle.set_noevict(block.key, block)

    def _place(self, key: K, nbytes: int, writer: Hashable, overcommit: bool) -> Block[K] | None:
        """Allocate within the capacity, spilling if that is enough; else beyond it, if that is allowed."""
        beyond = overcommit and nbytes > self.capacity
        block = super().allocate(key, nbytes, writer, overcommit=beyond)
        if block is None and _rounded(nbytes) <= self.free + self.idle:
            block = self._place_after_spilling(key, nbytes, writer)
        if block is None and overcommit:
            block = super().allocate(key, nbytes, writer, overcommit=True)
        return block

    def _place_after_spilling(self, key: K, nbytes: int, writer: Hashable) -> Block[K] | None:
        """Spill one by one until the block fits; beyond `nbytes` only where the free space is in pieces."""
        try:
            self.make_room(nbytes)
            block = super().allocate(key, nbytes, writer)
            while block is None and self._idle:
                self._spill_one()
                block = super().allocate(key, nbytes, writer)
        except SpillFailed:
            return None
        return block

    def _spill_one(self) -> K:
        """Write the least recently used block to disk, and free its memory. Raises SpillFailed; then the block stays."""
        key = next(iter(self._idle.order))
        block = self._named[key]
        try:
            self._idle.evict(key)
        except SpillFailed as error:
            self.spill_error = error
            raise
        except OSError as error:  # of a mapping that is no `Spill`
            self.spill_error = SpillFailed(error.errno, f"a block could not be moved to disk: {error}")
            raise self.spill_error from error
        self.spill_error = None
        super().purge(key)
        self._on_disk[key] = OnDisk(str(block.id), block.nbytes)
        self.spilled += block.nbytes
        self.spills += block.nbytes
        return key

    def _write(self, key: K, block: Block[K]) -> None:
        """Write a block to disk. The list of idle blocks calls this before a block leaves it."""
        self._disk[str(block.id)] = self._arena.writable(block.offset, block.nbytes)

    def _read(self, name: str, block: Block[K]) -> None:
        """Fill a block from disk."""
        self._arena.reserve(block.offset, block.nbytes)
        target = self._arena.writable(block.offset, block.nbytes)
        if isinstance(self._disk, Spill):
            self._disk.read_into(name, target)
        else:
            target[:] = self._disk[name]

    def _forget(self, key: K) -> None:
        """Delete a block on disk."""
        where = self._on_disk.pop(key)
        del self._disk[where.name]
        self.spilled -= where.nbytes


def _rounded(nbytes: int) -> int:
    """Return the bytes that a block of `nbytes` takes."""
    return round_up(nbytes or 1, PAGE if nbytes >= LARGE else ALIGNMENT)


def _size(_: object, block: Block[Any]) -> int:
    return block.size
