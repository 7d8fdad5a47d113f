"""The bookkeeping of an arena: keys, blocks, capacity and holds. Pure; the one process that owns the arena runs it.

The life of a block:

    allocate ----> being written ----> sealed ----> named, held by n clients
                        |                 |               |
                        | abort,          | purge         | purge: the name goes at once, the memory stays
                        | writer died     v               v
                        +----------->   freed  <---- last hold released, or its client died

A name and its memory have separate lives. `purge` ends the name, and the key may be used again immediately; the memory is
recycled only when no client holds the block any more. A block under construction belongs to its writer: purging it takes the name,
and the memory waits until the writer aborts or dies, because it may still be writing.

Every block has an id that is never used again. So a release that arrives late, twice, or for a place that was recycled
meanwhile is recognised and ignored.

There is no I/O, no clock and no lock here: the owner calls it from one thread.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from .allocator import PAGE, Allocator, round_up
from .errors import KeyExists, NotSealed, TooLarge, UnknownKey

K = TypeVar("K", bound=Hashable)

MIN_SPREAD = 2
"""Least address space per byte of capacity: with it, a block of any allowed size fits into an empty store, and fragmentation is rare."""


@dataclass(slots=True, eq=False)
class Block(Generic[K]):
    """One place in the arena, and its state. Only the store changes it."""

    id: int
    """Unique in this store, increasing, never used again."""
    key: K
    """The name it was allocated under."""
    offset: int
    """Bytes from the start of the arena; a multiple of 64."""
    nbytes: int
    """Requested bytes."""
    size: int
    """Bytes taken: `nbytes` rounded up to 64, or to whole pages."""
    writer: Hashable
    """The client that fills it."""
    sealed: bool = False
    """Whether it is complete, and so may be read."""
    named: bool = True
    """Whether `key` still names it: False from its purge on."""
    holds: int = 0
    """Holds of all clients together."""


class Store(Generic[K]):
    """The bookkeeping of an arena: where blocks are, who holds them, and when their memory may be used again.

    >>> store = Store(capacity=1 << 20, address_space=4 << 20)
    >>> block = store.allocate("t2m", 1000, writer="runner-0")
    >>> _ = store.seal("t2m"); _ = store.hold("t2m", "runner-1")
    >>> store.purge("t2m"), store.used            # runner-1 still has a view: nothing is freed
    (0, 1024)
    >>> store.release(block.id, "runner-1"), store.used
    (1024, 0)
    """

    def __init__(self, capacity: int, address_space: int) -> None:
        """Make an empty store.

        Args:
            capacity: bytes that blocks may take together, rounded up to a page.
            address_space: bytes of the arena; at least twice the capacity. Four times is a good choice: it costs nothing.

        Raises:
            ValueError: a size is not positive, or the address space is too small for the capacity.
        """
        self.capacity = round_up(capacity, PAGE)
        if capacity <= 0 or address_space < MIN_SPREAD * self.capacity:
            raise ValueError(
                f"a store of {capacity} bytes in {address_space} bytes of address space: the capacity must be positive, and the "
                f"address space at least {MIN_SPREAD} times as large (it costs no memory: use 4 times)"
            )
        self._places = Allocator(address_space)
        self._named: dict[K, Block[K]] = {}
        self._blocks: dict[int, Block[K]] = {}
        self._unsealed: dict[int, Block[K]] = {}
        self._held: dict[Hashable, dict[int, int]] = {}
        self._next_id = 1
        self.used = 0
        """Bytes in blocks that are named or held. These count against the capacity."""
        self.held_purged = 0
        """Bytes, among `used`, in blocks that were purged and that someone still holds or writes."""
        self.high_water = 0
        """The largest value of `used` so far, in bytes."""

    @property
    def address_space(self) -> int:
        """Bytes of the arena."""
        return self._places.address_space

    @property
    def free(self) -> int:
        """Bytes that may still be allocated within the capacity; 0 where it is exceeded on purpose."""
        return max(0, self.capacity - self.used)

    @property
    def backed(self) -> int:
        """Bytes of the arena that have, or may have, memory behind them: `used`, and free space that was used before."""
        return self._places.backed

    def __len__(self) -> int:
        """Return the number of keys that name a block."""
        return len(self._named)

    def __contains__(self, key: object) -> bool:
        """Return whether `key` names a block, sealed or not."""
        return key in self._named

    def keys(self) -> Iterator[K]:
        """Return the keys that name a block, oldest first."""
        return iter(self._named)

    def blocks(self) -> Iterator[Block[K]]:
        """Return every block whose memory is taken, purged ones too, oldest first."""
        return iter(self._blocks.values())

    def held_by(self, client: Hashable) -> dict[int, int]:
        """Return the holds of `client`: the number of holds by block id."""
        return dict(self._held.get(client, {}))

    def allocate(self, key: K, nbytes: int, writer: Hashable, *, overcommit: bool = False) -> Block[K] | None:
        """Take a place for `nbytes` bytes under `key`, to be filled by `writer`, then sealed.

        overcommit: exceed the capacity if need be, as far as the address space goes: for what must not wait.

        Returns:
            The block, or None where there is no room at present: try again after something was freed.

        Raises:
            KeyExists: the key names a block.
            TooLarge: more than the capacity (with `overcommit`, than the address space for large blocks): it never fits.
            ValueError: a negative size.
        """
        if key in self._named:
            raise KeyExists(f"{key!r} names a block already: purge it before allocating it again")
        if not 0 <= nbytes <= self.capacity:
            self._check_size(key, nbytes, overcommit)
        place = self._places.allocate(nbytes, self._places.largest if overcommit else self.capacity - self.used)
        if place is None:
            return None
        offset, size = place
        block = Block(self._next_id, key, offset, nbytes, size, writer)
        self._next_id += 1
        self._named[key] = self._blocks[block.id] = self._unsealed[block.id] = block
        self.used += size
        if self.used > self.high_water:
            self.high_water = self.used
        return block

    def seal(self, key: K) -> Block[K]:
        """Declare the block complete: from now on it may be held. Sealing it again does nothing.

        Raises:
            UnknownKey: the key names nothing. If it was purged while it was written, `abort` the block: its memory waits for that.
        """
        block = self.get(key)
        if not block.sealed:
            block.sealed = True
            del self._unsealed[block.id]
        return block

    def abort(self, block_id: int) -> int:
        """End a write that is not to be sealed: the name, if it is still there, and the memory go; the memory only after the last hold.

        Returns the bytes freed now; 0 for a block that is sealed, held or gone.
        """
        block = self._unsealed.pop(block_id, None)
        if block is None:
            return 0
        if block.named:
            self._unname(block)
        return 0 if block.holds else self._recycle(block)

    def get(self, key: K) -> Block[K]:
        """Return the block that `key` names, sealed or not.

        Raises:
            UnknownKey: it names none.
        """
        block = self._named.get(key)
        if block is None:
            raise UnknownKey(f"no block is named {key!r}: it was never allocated here, or it was purged")
        return block

    def hold(self, key: K, client: Hashable, count: int = 1, *, unsealed: bool = False) -> Block[K]:
        """Note that `client` has, or is about to have, `count` (at least 1) more views of the block.

        Its memory stays until as many are released.

        unsealed: the block may still be being written: `client` knows by other means which part of it is.

        Raises:
            UnknownKey: the key names nothing.
            NotSealed: the block is still being written.
        """
        block = self.get(key)
        if not block.sealed and not unsealed:
            raise NotSealed(f"block {block.id}, named {key!r}, is still being written by {block.writer!r}: wait until it is sealed")
        block.holds += count
        held = self._held.get(client)
        if held is None:
            held = self._held[client] = {}
        held[block.id] = held.get(block.id, 0) + count
        return block

    def release(self, block_id: int, client: Hashable, count: int = 1) -> int:
        """Release `count` (at least 1) holds of `client`.

        Holds that it does not have are ignored, so repeated and late releases do no harm.

        Returns the bytes freed: not 0 only for the last hold of a block that was purged.
        """
        held = self._held.get(client)
        own = held.get(block_id, 0) if held is not None else 0
        if held is None or own == 0:
            return 0
        if count < own:
            held[block_id] = own - count
        else:
            del held[block_id]
        block = self._blocks[block_id]
        block.holds -= min(count, own)
        return 0 if block.holds or block.named or block_id in self._unsealed else self._recycle(block)

    def purge(self, key: K) -> int:
        """Remove the name at once. The memory is freed now, or when the last client that holds or writes the block releases it.

        Returns the bytes freed now.

        Raises:
            UnknownKey: the key names nothing.
        """
        block = self.get(key)
        self._unname(block)
        return 0 if block.holds or not block.sealed else self._recycle(block)

    def client_died(self, client: Hashable) -> list[Block[K]]:
        """Drop all holds of `client`, and everything it was writing.

        Returns the blocks whose memory is free now: those it wrote (`sealed` is False; their keys name nothing any more) and those
        purged ones that only it held.
        """
        freed: list[Block[K]] = []
        for block_id, count in self._held.pop(client, {}).items():
            block = self._blocks[block_id]
            block.holds -= count
            if not block.holds and not block.named and block_id not in self._unsealed:
                self._recycle(block)
                freed.append(block)
        for block in [block for block in self._unsealed.values() if block.writer == client]:
            self.abort(block.id)
            if not block.holds:
                freed.append(block)
        return freed

    def trim(self, target: int) -> list[tuple[int, int]]:
        """Choose free ranges to give back to the system so that `backed` is at most `target` bytes, as far as that goes.

        Returns `(offset, nbytes)` in whole pages, for `Arena.release_pages`. Worth it only where `backed` has grown well beyond the
        capacity: memory that was given back costs a page fault per page when it is used again.
        """
        return self._places.trim(target)

    def free_ranges(self) -> list[tuple[int, int]]:
        """Return the free places as `(offset, nbytes)`, in order of offset. For metrics and tests: O(n log n)."""
        return self._places.free_ranges()

    def _check_size(self, key: K, nbytes: int, overcommit: bool) -> None:
        if nbytes < 0:
            raise ValueError(f"{key!r} would take {nbytes} bytes: a size is 0 or more")
        limit = self._places.largest if overcommit else self.capacity
        if nbytes > limit:
            raise TooLarge(f"{key!r} takes {nbytes} bytes, and no block here may be larger than {limit}: give the store more memory")

    def _unname(self, block: Block[K]) -> None:
        del self._named[block.key]
        block.named = False
        self.held_purged += block.size

    def _recycle(self, block: Block[K]) -> int:
        """Return the memory of an unnamed block."""
        del self._blocks[block.id]
        self._places.free(block.offset, block.size)
        self.used -= block.size
        self.held_purged -= block.size
        return block.size
