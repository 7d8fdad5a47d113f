"""A shared-memory object store: one unnamed file per host, zero-copy read-only views, memory recycled when the last view is gone.

`Arena` is the memory, `Store` the bookkeeping of the process that owns it, `Heap` makes arrays in it. See README.md beside this file.
Needs numpy, and nothing else; `headrace_shm.spilling`, which adds a disk, needs zict.
"""

from .allocator import ALIGNMENT, LARGE, PAGE, Allocator
from .arena import Arena, ArenaMap
from .errors import ArenaFull, KeyExists, NotSealed, ShmError, SpillFailed, TooLarge, UnknownKey
from .heap import Heap, Slab
from .store import Block, Store

__all__ = [
    "ALIGNMENT",
    "LARGE",
    "PAGE",
    "Allocator",
    "Arena",
    "ArenaFull",
    "ArenaMap",
    "Block",
    "Heap",
    "KeyExists",
    "NotSealed",
    "ShmError",
    "Slab",
    "SpillFailed",
    "Store",
    "TooLarge",
    "UnknownKey",
]
