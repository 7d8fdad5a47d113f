"""When a local cluster's nats-server is restarted because its disk was full.

nats-server takes no message into a stream again once it could not write to the stream's file, also if there is room since. So once it said
that a write failed, or the disk was so full that it could not even say it, it is restarted as soon as there is room.
"""

from __future__ import annotations

import os
from pathlib import Path

LOOK_SECONDS = 1.0
"""Seconds between two looks: two system calls."""
FULL_BYTES = 1 << 20
"""Below this much free space the server may not be able to write to its log either."""
ROOM_BYTES = 16 << 20
"""Free bytes from which on the restart is worthwhile: several of the largest messages."""
_FAILED = (b"write error", b"failed to store a msg", b"no space left on device")
_TAIL = 65_536
"""Bytes of the log that are read at a look; of more, the last ones."""


class StoreWatch:
    """Watches a server's log and disk. Pure."""

    def __init__(self) -> None:
        self._failed = False

    def look(self, written: bytes, free: int) -> bool:
        """Whether the server is to be restarted now. written: what its log has had since the last look. free: bytes free on its disk."""
        self._failed = self._failed or free < FULL_BYTES or any(words in written for words in _FAILED)
        if not self._failed or free < ROOM_BYTES:
            return False
        self._failed = False
        return True


class LogTail:
    """Reads what was added to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read(self) -> bytes:
        """The bytes since the last call; nothing if there is no file."""
        try:
            size = self._path.stat().st_size
            if size == self._at:
                return b""
            with self._path.open("rb") as file:
                file.seek(max(self._at if size > self._at else 0, size - _TAIL))
                found = file.read()
        except OSError:
            return b""
        self._at = size
        return found


def free_bytes(folder: Path) -> int:
    """Bytes that a user may still write in a folder's file system. `ROOM_BYTES` if that cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return ROOM_BYTES
    return found.f_bavail * found.f_frsize
