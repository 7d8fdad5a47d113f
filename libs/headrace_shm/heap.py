"""Arrays that are born in shared memory, so that a result need not be copied there.

The owner of the store grants blocks to a process that writes; its heap makes one array in each, behind a `headroom` for
whatever the process puts in front of the array's bytes when it hands them over. Three things can become of such an array:

- it is **taken**: its block is the result. The process goes on holding it until the last view of its own is gone, and then
  `on_release` is called, as for a block that it had mapped to read;
- it is **gone** without being taken, a temporary: the block waits for the next array of its size, warm;
- there are more such blocks than `spare` bytes: those that wait longest are given back.
"""

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .allocator import LARGE
from .arena import Arena

SPARE_BYTES = 256 << 20
"""What a heap keeps for the next arrays: a few fields' worth. It counts against the store's capacity while it is kept."""


class Slab(NamedTuple):
    """A block that the owner granted: its id and place, in bytes."""

    id: int
    offset: int
    nbytes: int


class Heap:
    """Makes arrays in granted blocks. For one thread, but its arrays may end in any.

    >>> from headrace_shm import Store
    >>> arena = Arena.create(16 << 20); store = Store(4 << 20, arena.address_space)
    >>> def ask(nbytes):                              # elsewhere: a message to the owner, and its answer
    ...     block = store.allocate("result", nbytes, "me")
    ...     return block and Slab(block.id, block.offset, block.nbytes)
    >>> heap = Heap(arena, ask, give_back=store.abort, on_release=print, headroom=1024)
    >>> field = heap.empty((256, 256)); field[:] = 1
    >>> heap.find(field), heap.find(field.copy())     # its bytes are in block 1 already, behind 1,024 others
    (1, None)
    >>> heap.take(1); _ = store.seal("result")        # it is a result now: others read it, and nothing was copied
    >>> float(np.frombuffer(arena.readonly(0, 1024 + field.nbytes, list), offset=1024).sum())
    65536.0
    >>> del field                                     # block 1 is not held here any more
    1
    """

    def __init__(
        self,
        arena: Arena,
        ask: Callable[[int], Slab | None],
        give_back: Callable[[int], object],
        on_release: Callable[[int], object],
        *,
        headroom: int = 0,
        smallest: int = LARGE,
        spare: int = SPARE_BYTES,
    ) -> None:
        """Make an empty heap.

        Args:
            arena: where the blocks lie.
            ask: gets a block of so many bytes, with memory behind it, from the owner; None if there is none now, or never.
            give_back: tells the owner that a block, by its id, is not needed. Called in the heap's thread.
            on_release: called with a taken block's id when its last view here is gone, as `Arena.readonly` calls it.
            headroom: bytes in front of each array, a multiple of 64 if arrays are to be aligned as blocks are.
            smallest: arrays of fewer bytes are made in private memory: to copy them costs less than a block.
            spare: bytes of blocks to keep for the next arrays.
        """
        self._arena = arena
        self._ask = ask
        self._give_back = give_back
        self._on_release = on_release
        self.headroom = headroom
        self.smallest = smallest
        self.spare = spare
        self._in_use: dict[int, Slab] = {}
        self._by_offset: dict[int, Slab] = {}
        self._taken: set[int] = set()
        self._gone: deque[int] = deque()
        self._waiting: dict[int, Slab] = {}
        self._waiting_bytes = 0

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = float, order: Literal["C", "F"] = "C") -> npt.NDArray[Any]:
        """A new array, not initialised, as `numpy.empty`: in a granted block if it is large and there is one, else in private memory.

        Raises:
            ValueError: a negative dimension.
        """
        kind = np.dtype(dtype)
        nbytes = math.prod(shape if isinstance(shape, tuple) else (shape,)) * kind.itemsize
        slab = self._slab(self.headroom + nbytes) if nbytes >= self.smallest and not kind.hasobject else None
        if slab is None:
            return np.empty(shape, kind, order)
        view = self._arena.lend(slab.offset + self.headroom, nbytes, partial(self._ended, slab.id))
        self._in_use[slab.id] = self._by_offset[slab.offset] = slab
        return np.ndarray(shape, kind, view, order=order)

    def find(self, data: Any) -> int | None:
        """The id of the block that these bytes fill, so that they could be taken where they are.

        None for all else: other memory, a part of an array, and what was taken before.
        """
        offset = self._arena.offset_of(data)
        slab = self._by_offset.get(offset - self.headroom) if offset is not None else None
        if slab is None or slab.id in self._taken or memoryview(data).nbytes != slab.nbytes - self.headroom:
            return None
        return slab.id

    def head(self, slab_id: int) -> memoryview:
        """The bytes in front of a block's array, to write into."""
        return self._arena.writable(self._in_use[slab_id].offset, self.headroom)

    def take(self, slab_id: int) -> None:
        """Make a block a result, while an array in it is alive. The owner seals it, and counts it as held here until `on_release`."""
        self._taken.add(slab_id)

    def trim(self, nbytes: int = 0) -> None:
        """Give back the blocks that wait longest, until those left have at most so many bytes."""
        self._collect()
        while self._waiting_bytes > nbytes:
            slab = self._waiting.pop(next(iter(self._waiting)))
            self._waiting_bytes -= slab.nbytes
            self._give_back(slab.id)

    def _slab(self, nbytes: int) -> Slab | None:
        """A block of exactly so many bytes: the one that came free last, or a new one."""
        self.trim(self.spare)
        for slab in reversed(self._waiting.values()):
            if slab.nbytes == nbytes:
                del self._waiting[slab.id]
                self._waiting_bytes -= nbytes
                return slab
        return self._ask(nbytes)

    def _ended(self, slab_id: int) -> None:
        """The last view of an array is gone; in whatever thread, so what takes time is left for `_collect`."""
        if slab_id in self._taken:
            self._on_release(slab_id)
        self._gone.append(slab_id)

    def _collect(self) -> None:
        """Sort the blocks whose arrays are gone."""
        while self._gone:
            slab = self._in_use.pop(self._gone.popleft())
            if self._by_offset.get(slab.offset) is slab:
                del self._by_offset[slab.offset]
            if slab.id in self._taken:
                self._taken.remove(slab.id)
            else:
                self._waiting[slab.id] = slab
                self._waiting_bytes += slab.nbytes
