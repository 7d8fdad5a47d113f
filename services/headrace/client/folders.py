"""The folders of a local cluster, and the removal of those that a killed one left behind.

A folder is locked for as long as a process of its cluster lives, by a lock that the kernel drops with the last of them. So a
folder whose lock is free belongs to no cluster: its cluster was killed together with its client, and the next local cluster of the
user removes it.
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
    """A folder and the descriptor that its lock hangs on."""

    path: Path
    lock: int


def make_folder(base: Path) -> Folder:
    """A new folder of this user's own in `base`, locked. Raises OSError where it cannot be made."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return Folder(path, lock)
        os.close(lock)  # swept by another cluster in the moment before it was locked


def sweep(base: Path) -> None:
    """Remove the folders in `base` that belong to nobody any more."""
    for path in base.glob(f"{PREFIX}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # another user's, or gone by now
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
