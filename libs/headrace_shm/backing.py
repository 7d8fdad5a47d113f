"""The unnamed sparse file under an arena, and the system calls that give it memory and take it back."""

import ctypes
import errno
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
"""The folder where Linux keeps files in memory. Elsewhere the temporary folder serves, and the page cache keeps the file in memory."""

ZEROS = bytes(1 << 20)
"""Zeros to write where no system call gives a range memory, 1 MiB at a time."""

NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
"""Errors of `open` where the file system or the system does not know `O_TMPFILE`."""

KEEP_SIZE, PUNCH_HOLE = 1, 2  # linux/falloc.h


def default_folder() -> Path:
    """Return the folder for an arena's file where none is given: `/dev/shm` if it is usable, else the temporary folder."""
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def open_unnamed(folder: Path) -> int:
    """Open a new file in `folder` that has no name, so that nothing is left of it once no process has it open.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
        except OSError as error:
            if error.errno not in NO_TMPFILE:
                raise
    fd, name = tempfile.mkstemp(prefix="headrace-", dir=folder)
    os.unlink(name)
    return fd


def give_memory(fd: int, offset: int, nbytes: int) -> None:
    """Allocate memory (or disk space) for a range of the file that has none, and that no process has written to.

    Raises:
        OSError: `ENOSPC` where the file system is full.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, offset, nbytes)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    write_zeros(fd, offset, nbytes)


def write_zeros(fd: int, offset: int, nbytes: int) -> None:
    """Fill a range with zeros: the portable way to give memory to a range that has none."""
    end = offset + nbytes
    while offset < end:
        offset += os.pwrite(fd, memoryview(ZEROS)[: end - offset], offset)


def write_range(fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data`, plain bytes, at `offset`.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    while data.nbytes:  # the system writes at most 2 GiB at once
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def read_range(fd: int, target: memoryview, offset: int) -> None:
    """Fill `target`, plain writable bytes, from `offset` on.

    Raises:
        OSError: the file cannot be read, or ends before (`EIO`).
    """
    while target.nbytes:
        if hasattr(os, "preadv"):
            count = os.preadv(fd, [target], offset)
        else:
            data = os.pread(fd, target.nbytes, offset)
            count = len(data)
            target[:count] = data
        if not count:
            raise OSError(errno.EIO, f"the file ends {target.nbytes} bytes early")
        target, offset = target[count:], offset + count


def take_memory(fd: int, offset: int, nbytes: int) -> bool:
    """Give the memory of whole pages back to the system; they read as zeros afterwards. Returns False if the system does not support that.

    Raises:
        OSError: the call failed for another reason than not being supported.
    """
    if _FALLOCATE is None:
        return False
    while _FALLOCATE(fd, KEEP_SIZE | PUNCH_HOLE, offset, nbytes) != 0:
        code = ctypes.get_errno()
        if code in (errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        if code != errno.EINTR:
            raise OSError(code, f"cannot give back {nbytes} bytes at offset {offset} of the arena: {os.strerror(code)}")
    return True


def _load_fallocate() -> Callable[[int, int, int, int], int] | None:
    """Linux's `fallocate` with 64-bit offsets; `os` has only the POSIX one, which cannot punch holes."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


_FALLOCATE = _load_fallocate()
