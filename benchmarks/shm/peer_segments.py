"""`multiprocessing.shared_memory`: a named segment for each value."""

from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory

import numpy as np

from benchmarks.shm.peers import Bytes


class SegmentReader:
    """Attaches to a segment by its name."""

    def map(self, token: tuple[str, int]) -> Bytes:
        """An array on the mapped segment."""
        name, nbytes = token
        self._segment = SharedMemory(name)
        return np.frombuffer(self._segment.buf, np.uint8, nbytes)

    def drop(self) -> None:
        """Unmap it."""
        self._segment.close()


class SegmentWriter:
    """Makes and unlinks segments."""

    def __init__(self) -> None:
        self.reader = SegmentReader()

    def put(self, data: Bytes) -> tuple[str, int]:
        """A new segment with a copy of the data."""
        self._segment = SharedMemory(create=True, size=data.nbytes)
        np.copyto(np.frombuffer(self._segment.buf, np.uint8, data.nbytes), data)
        return self._segment.name, data.nbytes

    def purge(self, token: tuple[str, int]) -> None:
        """Unmap and unlink it."""
        self._segment.close()
        self._segment.unlink()

    def close(self) -> None:
        """Nothing is left."""
