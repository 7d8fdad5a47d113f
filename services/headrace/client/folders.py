"""The folders of a local cluster, and the removal of folders that a killed cluster left behind.

A folder is locked while a process of its cluster lives, by a lock that the kernel drops with the last of them. So a folder whose lock is
free belongs to no cluster: its cluster was killed together with its client, and the user's next local cluster removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

PREFIX = "headrace-local-"


class Folder(NamedTuple):
    """A folder, and the file descriptor that holds its lock."""

    path: Path
    lock: int


def make_folder(base: Path) -> Folder:
    """Create a new, locked folder in `base` that only this user can read. Raises OSError if it cannot be created."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return Folder(path, lock)
        os.close(lock)  # another cluster removed it just before it was locked


def sweep(base: Path) -> None:
    """Remove the folders in `base` that belong to no cluster."""
    for path in base.glob(f"{PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # it belongs to another user, or is gone by now
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
