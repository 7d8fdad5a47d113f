"""Files of sinks on a local disk, reached through the descriptor of their folder.

With a root (see `allowed`), a folder is opened step by step from there, and symbolic links are followed only to folders below the root. So
a user who can create links there cannot make the publisher commit, replace or remove a file elsewhere, however quickly the links change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.errors import SinkRefused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def opened_folder(path: str, root: str) -> Iterator[int]:
    """Open a folder. Raises SinkRefused if it is not below the root (an empty root allows all folders), and the errors of opening it."""
    descriptor = _open_below(path, root) if root else os.open(path, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_below(path: str, root: str) -> int:
    top = os.path.realpath(root)
    steps = below(path, root).split("/")
    descriptor = os.open(top, _FOLDER)
    for step in filter(None, steps):
        try:
            inner = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def below(path: str, root: str) -> str:
    """Return the path of a folder below the root, with all symbolic links resolved.

    The folder need not exist. Raises SinkRefused if it is not below the root.
    """
    top, real = os.path.realpath(root), os.path.realpath(path)
    if real != top and not real.startswith(os.path.join(top, "")):
        raise SinkRefused(f"{path} leads through a symbolic link to {real}, outside of {root}, where sinks may write")
    return real[len(top) :]


def size(name: str, folder: int) -> int | None:
    """Return the size of a file in bytes; None if there is no file, or it is not a regular one."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def checksum(name: str, folder: int) -> str:
    """Return "sha256:" and the digest of a file."""
    with open(name, "rb", opener=_opener(folder)) as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def rename(part: str, name: str, folder: int) -> None:
    """Rename a file, replacing any other, and flush it, so that it survives a loss of power."""
    os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def remove(name: str, folder: int) -> None:
    """Remove a file, if it exists."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _opener(folder: int) -> Callable[[str, int], int]:
    return lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
