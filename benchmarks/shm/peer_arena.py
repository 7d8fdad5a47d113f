"""headrace_shm: an arena in both processes, a store in the writing one."""

from __future__ import annotations

from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np

from benchmarks.shm.peers import Bytes
from headrace_shm import Arena, Store

CAPACITY = 5 << 29
"""Bytes: 2.5 GiB, for the largest value and what is left of the one before."""
READER, WRITER = "reader", "writer"

Place = tuple[int, int, int]
"""A block's id, offset and length."""


class ArenaReader:
    """Maps blocks read-only. Takes the arena along when it is pickled for a new process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ended: list[int] = []

    def __getstate__(self) -> Any:
        return DupFd(self._fd)

    def __setstate__(self, fd: Any) -> None:
        self._arena = Arena.attach(fd.detach())
        self._ended = []

    def map(self, token: Place) -> Bytes:
        """An array on a view of the block."""
        block, offset, nbytes = token
        return np.frombuffer(self._arena.readonly(offset, nbytes, lambda: self._ended.append(block)), np.uint8)

    def drop(self) -> None:
        """Take the notice that the view ended, as one that is sent to the owner."""
        self._ended.pop()


class ArenaWriter:
    """Owns the store. What it books for the reader is measured with the put and the purge."""

    def __init__(self) -> None:
        self._arena = Arena.create(4 * CAPACITY)
        self._store: Store[int] = Store(CAPACITY, 4 * CAPACITY)
        self._key = 0
        self.reader = ArenaReader(self._arena.fd)

    def put(self, data: Bytes) -> Place:
        """Allocate, copy, seal, and count the reader's hold."""
        self._key += 1
        block = self._store.allocate(self._key, data.nbytes, WRITER)
        if block is None:
            raise MemoryError(f"{data.nbytes} bytes do not fit beside {self._store.used}")
        self._arena.reserve(block.offset, data.nbytes)
        np.copyto(np.frombuffer(self._arena.writable(block.offset, data.nbytes), np.uint8), data)
        self._store.seal(self._key)
        self._store.hold(self._key, READER)
        return block.id, block.offset, block.nbytes

    def purge(self, token: Place) -> None:
        """Count the reader's release, and purge."""
        self._store.release(token[0], READER)
        self._store.purge(self._key)

    def close(self) -> None:
        """Let go of the arena."""
        self._arena.close()
