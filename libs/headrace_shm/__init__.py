"""A shared-memory object store: one unnamed file per host, zero-copy read-only views, memory recycled when the last view is gone.

`Arena` is the memory, `Store` the bookkeeping of the process that owns it. See README.md beside this file. Needs numpy, and
nothing else.
"""

from .allocator import ALIGNMENT, LARGE, PAGE, Allocator
from .arena import Arena
from .errors import ArenaFull, KeyExists, NotSealed, ShmError, SpillFailed, TooLarge, UnknownKey
from .store import Block, Store

__all__ = [
    "ALIGNMENT",
    "LARGE",
    "PAGE",
    "Allocator",
    "Arena",
    "ArenaFull",
    "Block",
    "KeyExists",
    "NotSealed",
    "ShmError",
    "SpillFailed",
    "Store",
    "TooLarge",
    "UnknownKey",
]
