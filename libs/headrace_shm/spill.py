"""A mapping of keys to bytes on disk, for blocks that do not fit into memory.

One unnamed file holds all values, so nothing remains on disk however its process ends, SIGKILL included: the system frees the file with the
last descriptor. It is a mapping from `str` to bytes like `zict.File`, and can replace it in any composition of zict's. In addition, it
reads straight into a given buffer, and gives back the disk space of deleted values.
"""

import errno
import os
import tempfile
import weakref
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from .allocator import PAGE, round_up
from .backing import open_unnamed, read_range, take_memory, write_range
from .errors import SpillFailed
from .ranges import FreeRanges

FILE_SPACE = 1 << 43
"""Addressable bytes of the file: 8 TiB, half of what ext4 allows in one file. Space is taken only when it is written."""


class Spill(MutableMapping[str, Any]):
    """A mapping from `str` to bytes, kept on disk. Values are set from any contiguous buffer, and come back as a `bytearray`.

    For one thread, which need not be the one that made it: reading and writing let others run meanwhile.

    >>> with Spill() as disk:
    ...     disk["t2m"] = b"field"
    ...     bytes(disk["t2m"]), disk.nbytes
    (b'field', 5)
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, limit: int | None = None) -> None:
        """Open the file.

        Args:
            folder: a folder on a disk; the temporary folder by default. Where that one is in memory itself, spilling gains nothing.
            limit: the most bytes to keep there; None for as many as the disk takes.

        Raises:
            OSError: the folder does not exist or cannot be written.
        """
        self.folder = Path(folder) if folder is not None else Path(tempfile.gettempdir())
        self.limit = limit
        self.nbytes = 0
        """Bytes of all values together."""
        self._fd = open_unnamed(self.folder)
        self._close = weakref.finalize(self, os.close, self._fd)
        self._places: dict[str, tuple[int, int]] = {}
        self._free = FreeRanges()
        self._free.add(0, FILE_SPACE)

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        """Return the keys, oldest first."""
        return iter(self._places)

    def __contains__(self, key: object) -> bool:
        """Return whether there is a value of this key."""
        return key in self._places

    def __setitem__(self, key: str, value: bytes | bytearray | memoryview) -> None:
        """Write a value, in place of the one that was there. If that fails the key has none, and no space is lost.

        Raises:
            SpillFailed: the disk, or the limit, has no room for it, or cannot be written; `errno` says which.
        """
        self.discard(key)
        data = memoryview(value).cast("B")
        if self.limit is not None and self.nbytes + data.nbytes > self.limit:
            raise self._failed(errno.ENOSPC, f"its limit is {self.limit} bytes, of which {self.nbytes} are taken")
        offset = self._take(data.nbytes)
        try:
            write_range(self._fd, data, offset)
        except OSError as error:
            self._give_back(offset, data.nbytes)
            raise self._failed(error.errno, f"{data.nbytes} bytes cannot be written: {error.strerror}") from error
        self._places[key] = offset, data.nbytes
        self.nbytes += data.nbytes

    def __getitem__(self, key: str) -> bytearray:
        """Read a value.

        Raises:
            KeyError: no value has this key.
            SpillFailed: the disk cannot be read.
        """
        data = bytearray(self._places[key][1])
        self.read_into(key, memoryview(data))
        return data

    def read_into(self, key: str, target: memoryview) -> None:
        """Read a value into a writable buffer of its exact size, with no copy in between.

        Raises:
            KeyError: no value has this key.
            ValueError: the buffer has another size than the value.
            SpillFailed: the disk cannot be read.
        """
        nbytes = self._places[key][1]
        if target.nbytes != nbytes:
            raise ValueError(f"{key!r} has {nbytes} bytes, and cannot be read into {target.nbytes}")
        self.read_part(key, 0, target)

    def read_part(self, key: str, start: int, target: memoryview) -> None:
        """Fill a writable buffer with the bytes of a value from `start` on.

        Raises:
            KeyError: no value has this key.
            ValueError: the value has fewer bytes than that.
            SpillFailed: the disk cannot be read.
        """
        offset, nbytes = self._places[key]
        if not 0 <= start <= nbytes - target.nbytes:
            raise ValueError(f"{key!r} has {nbytes} bytes, and not {target.nbytes} from {start} on")
        try:
            read_range(self._fd, target, offset + start)
        except OSError as error:
            raise self._failed(error.errno, f"{target.nbytes} bytes cannot be read back: {error.strerror}") from error

    def __delitem__(self, key: str) -> None:
        """Forget a value and give its disk space back.

        Raises:
            KeyError: no value has this key.
        """
        offset, nbytes = self._places.pop(key)
        self.nbytes -= nbytes
        self._give_back(offset, nbytes)

    def discard(self, key: str) -> None:
        """Delete a value if there is one. Unlike `pop`, it does not read it first."""
        if key in self._places:
            del self[key]

    def close(self) -> None:
        """Close the file, which ends it and all that is in it. Closing again does nothing."""
        self._places.clear()
        self.nbytes = 0
        self._close()

    def __enter__(self) -> "Spill":
        """Return the mapping; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def _take(self, nbytes: int) -> int:
        """Return a place for the bytes: the smallest hole that they fit into, or else the end."""
        size = round_up(nbytes or 1, PAGE)
        offset = self._free.find(size)
        if offset is None:
            raise self._failed(errno.ENOSPC, f"one file holds {FILE_SPACE} bytes at most")
        self._free.take(offset, size)
        return offset

    def _give_back(self, offset: int, nbytes: int) -> None:
        """Free a place. If the disk has not written its data yet, it need not write it any more."""
        size = round_up(nbytes or 1, PAGE)
        self._free.add(offset, offset + size)
        take_memory(self._fd, offset, size)

    def _failed(self, code: int | None, what: str) -> SpillFailed:
        return SpillFailed(code or errno.EIO, f"spilling to {self.folder}: {what}; free some, or name a folder with more room")
