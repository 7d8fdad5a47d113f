"""When a local cluster's nats-server is restarted because its disk was full.

nats-server takes no message into a stream again once it could not write to the stream's file, also if there is room since. So once it said
that a write failed, or the disk was so full that it could not even say it, it is restarted as soon as there is room.
"""

from __future__ import annotations

import os
from pathlib import Path

from headrace.client.settings import SETTINGS

_FAILED = (b"write error", b"failed to store a msg", b"no space left on device")


class StoreWatch:
    """Watches a server's log and disk. Pure."""

    def __init__(self) -> None:
        self._failed = False

    def look(self, written: bytes, free: int) -> bool:
        """Whether the server is to be restarted now. written: what its log has had since the last look. free: bytes free on its disk."""
        self._failed = self._failed or free < SETTINGS.disk_full_bytes or any(words in written for words in _FAILED)
        if not self._failed or free < SETTINGS.disk_room_bytes:
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
                file.seek(max(self._at if size > self._at else 0, size - SETTINGS.server_log_bytes))
                found = file.read()
        except OSError:
            return b""
        self._at = size
        return found


def free_bytes(folder: Path) -> int:
    """Bytes that a user may still write in a folder's file system. `Settings.disk_room_bytes` if that cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return SETTINGS.disk_room_bytes
    return found.f_bavail * found.f_frsize
