"""Allocates arrays in shared memory, so that a result need not be copied there.

The owner of the store grants blocks to a process that writes. The process's heap makes one array in each block, behind a `headroom` for
bytes that the process puts in front of the array when it hands them over. Such an array has one of three fates:

- its block becomes the **result**. The process calls `keep`, drops the array, and `take`s the block: nothing here can write to it any more.
If something still refers to the array, `take` returns the bytes instead, to be copied, and the block stays with the array;
- the array is **gone** without that, a temporary: the block waits for the next array of its size, warm;
- more than `spare` bytes of blocks wait: the heap gives back those that wait longest.
"""

import math
import operator
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, SupportsIndex

import numpy as np
import numpy.typing as npt

from .allocator import LARGE
from .arena import Arena

SPARE_BYTES = 256 << 20
"""Bytes that a heap keeps for the next arrays: a few fields' worth. They count against the store's capacity."""


Shape = SupportsIndex | Sequence[SupportsIndex]
"""One side of an array, or all of them, as in NumPy."""


class Slab(NamedTuple):
    """A block that the owner granted: its id, its offset, and its size in bytes."""

    id: int
    offset: int
    nbytes: int


class _Lent(NamedTuple):
    """A block with an array in it, and a reference that tells whether the array is alive."""

    slab: Slab
    exporter: weakref.ref[Any]


class Heap:
    """A heap of arrays in granted blocks. It serves one thread, but its arrays may end in any.

    >>> from headrace_shm import Store
    >>> arena = Arena.create(16 << 20); store = Store(4 << 20, arena.address_space)
    >>> def ask(nbytes):                              # elsewhere: a message to the owner, and its answer
    ...     block = store.allocate("result", nbytes, "me")
    ...     return block and Slab(block.id, block.offset, block.nbytes)
    >>> heap = Heap(arena, ask, give_back=store.abort, headroom=1024)
    >>> field = heap.empty((256, 256)); field[:] = 1
    >>> heap.find(field), heap.find(field.copy())     # its bytes are in block 1 already, behind 1,024 others
    (1, None)
    >>> heap.keep(1); del field
    >>> heap.take(1); _ = store.seal("result")        # it is a result now: others read it, and nothing was copied
    >>> float(np.frombuffer(arena.readonly(0, store.get("result").nbytes, list), offset=1024).sum())
    65536.0
    """

    def __init__(
        self,
        arena: Arena,
        ask: Callable[[int], Slab | None],
        give_back: Callable[[int], object],
        *,
        headroom: int = 0,
        smallest: int = LARGE,
        spare: int = SPARE_BYTES,
    ) -> None:
        """Make an empty heap.

        Args:
            arena: where the blocks lie.
            ask: requests a block of this number of bytes, with memory, from the owner. Returns None if the owner grants none.
            give_back: tells the owner that a block, by its id, is not needed. Called in the heap's thread.
            headroom: bytes in front of each array, a multiple of 64 if arrays are to be aligned as blocks are.
            smallest: arrays of fewer bytes are made in private memory: to copy them costs less than a block.
            spare: bytes of blocks to keep for the next arrays.
        """
        self._arena = arena
        self._ask = ask
        self._give_back = give_back
        self.headroom = headroom
        self.smallest = smallest
        self.spare = spare
        self._in_use: dict[int, _Lent] = {}
        self._by_offset: dict[int, Slab] = {}
        self._kept: set[int] = set()
        self._gone: deque[int] = deque()
        self._waiting: dict[int, Slab] = {}
        self._waiting_bytes = 0

    def empty(self, shape: Shape, dtype: npt.DTypeLike = float, order: Literal["C", "F"] = "C") -> npt.NDArray[Any]:
        """Return a new array like `numpy.empty`, if possible in shared memory.

        An array that is large goes into a granted block, if one is available. All others are in private memory.

        Raises:
            ValueError: a negative dimension.
        """
        kind = np.dtype(dtype)
        sides = _sides(shape)
        nbytes = math.prod(sides) * kind.itemsize
        slab = self._slab(self.headroom + nbytes) if nbytes >= self.smallest and not kind.hasobject else None
        if slab is None:
            return np.empty(sides, kind, order)
        view = self._arena.lend(slab.offset + self.headroom, nbytes, partial(self._gone.append, slab.id))
        self._in_use[slab.id] = _Lent(slab, weakref.ref(view.obj))
        self._by_offset[slab.offset] = slab
        return np.ndarray(sides, kind, view, order=order)

    def find(self, data: Any) -> int | None:
        """Return the id of the block that these bytes fill, so that it can be handed over without a copy.

        None for anything else: other memory, a part of an array, or a block that is already kept.
        """
        offset = self._arena.offset_of(data) if self._by_offset else None
        slab = self._by_offset.get(offset - self.headroom) if offset is not None else None
        if slab is None or slab.id in self._kept:
            return None
        nbytes = data.nbytes if isinstance(data, np.ndarray) else memoryview(data).nbytes  # arrays of times export no buffer
        return slab.id if nbytes == slab.nbytes - self.headroom else None

    def head(self, slab_id: int) -> memoryview:
        """Return the bytes in front of a block's array, to write into."""
        return self._arena.writable(self._in_use[slab_id].slab.offset, self.headroom)

    def keep(self, slab_id: int) -> None:
        """Keep a block until `take`: do not give it back or use it again, even when its array is gone."""
        self._kept.add(slab_id)

    def take(self, slab_id: int) -> memoryview | None:
        """End `keep`: the block is the caller's to hand over or give back, and the heap forgets it. Returns None.

        If something here still refers to the array, through which it could be changed, the block stays as it was before `keep`. Returns the
        array's bytes, to be copied; they stay where they are as long as the view lives.
        """
        self._kept.remove(slab_id)
        lent = self._in_use[slab_id]
        exporter = lent.exporter()
        if exporter is not None:
            return memoryview(exporter)
        del self._in_use[slab_id], self._by_offset[lent.slab.offset]
        return None

    def trim(self, nbytes: int = 0) -> None:
        """Give back the blocks that wait longest, until those left have at most `nbytes` bytes."""
        self._collect()
        while self._waiting_bytes > nbytes:
            slab = self._waiting.pop(next(iter(self._waiting)))
            self._waiting_bytes -= slab.nbytes
            self._give_back(slab.id)

    def _slab(self, nbytes: int) -> Slab | None:
        """Return a block of exactly `nbytes` bytes: the one that came free last, or a new one."""
        self.trim(self.spare)
        for slab in reversed(self._waiting.values()):
            if slab.nbytes == nbytes:
                del self._waiting[slab.id]
                self._waiting_bytes -= nbytes
                return slab
        return self._ask(nbytes)

    def _collect(self) -> None:
        """Let the blocks wait whose arrays are gone. `take` handles those that are kept or were taken."""
        while self._gone:
            slab_id = self._gone.popleft()
            if slab_id in self._in_use and slab_id not in self._kept:
                slab = self._in_use.pop(slab_id).slab
                del self._by_offset[slab.offset]
                self._waiting[slab_id] = slab
                self._waiting_bytes += slab.nbytes


def _sides(shape: Shape) -> tuple[int, ...]:
    """Return all sides as Python's integers, whose product does not overflow."""
    try:
        return (operator.index(shape),)  # type: ignore[arg-type]
    except TypeError:
        return tuple(map(operator.index, shape))  # type: ignore[arg-type]
