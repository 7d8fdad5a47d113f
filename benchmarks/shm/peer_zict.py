"""`zict.File` in place of a store: a file in memory for each value, which the reader maps.

A `zict.File` knows the keys that were there when it was opened, so the reader opens it anew for each value.
"""

from __future__ import annotations

import tempfile

import numpy as np
from zict import File

from benchmarks.shm.peers import Bytes
from headrace_shm.backing import default_folder


class ZictReader:
    """Maps files."""

    def map(self, token: tuple[str, str]) -> Bytes:
        """An array on the mapped file."""
        folder, key = token
        return np.frombuffer(File(folder, memmap=True)[key], np.uint8)

    def drop(self) -> None:
        """The mapping went with its array."""


class ZictWriter:
    """Writes and removes files."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=default_folder())
        self._file = File(self._folder.name)
        self._count = 0
        self.reader = ZictReader()

    def put(self, data: Bytes) -> tuple[str, str]:
        """Write a file."""
        self._count += 1
        key = str(self._count)
        self._file[key] = memoryview(data)
        return self._folder.name, key

    def purge(self, token: tuple[str, str]) -> None:
        """Remove it."""
        del self._file[token[1]]

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()
