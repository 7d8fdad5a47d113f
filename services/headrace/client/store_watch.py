"""Decides when to restart a local cluster's nats-server because its disk was full.

After nats-server could not write to a stream's file, it takes no message into the stream again, even when there is room. So once it has
logged a failed write, or the disk was too full even for its log, it is restarted as soon as there is room.
"""

from __future__ import annotations

import os
from pathlib import Path

from headrace.client.settings import SETTINGS

_FAILED = (b"write error", b"failed to store a msg", b"no space left on device")


class StoreWatch:
    """The watch over a server's log and disk. Pure."""

    def __init__(self) -> None:
        self._failed = False

    def needs_restart(self, written: bytes, free: int) -> bool:
        """Return whether to restart the server now. written: its log since the last look. free: free bytes on its disk."""
        self._failed = self._failed or free < SETTINGS.disk_full_bytes or any(words in written for words in _FAILED)
        if not self._failed or free < SETTINGS.disk_room_bytes:
            return False
        self._failed = False
        return True


class LogTail:
    """A reader of the data that is added to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read(self) -> bytes:
        """Return the bytes since the last call; nothing if there is no file."""
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
    """Return the bytes that a user may still write in a folder's file system; `Settings.disk_room_bytes` if the system does not say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return SETTINGS.disk_room_bytes
    return found.f_bavail * found.f_frsize
