"""Memory, shared memory and disks of a size that the harness chose, and what fills them.

Needs root: disks are mounted in a mount namespace of the driver's own, which ends with it, and memory is limited by control groups."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cgroups import Cgroup

PAGE = 4096
CHUNK = 8 << 20
_CLONE_NEWNS = 0x00020000


def prepare() -> bool:
    """Enter a mount namespace of this process's own. Returns whether disks can be mounted and control groups made."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(_CLONE_NEWNS) != 0:
        return False
    if subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode != 0:
        return False
    group = Cgroup.make(1 << 30)
    if group is not None:
        group.remove()
    return group is not None


def mount(folder: Path, nbytes: int) -> None:
    """Make a folder a disk of some size, in memory. Raises CalledProcessError."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={nbytes},mode=700", "chaos", str(folder)], check=True, capture_output=True)


def make_read_only(folder: Path, *, read_only: bool) -> None:
    """Have a mounted disk refuse writes, or take them again. Raises CalledProcessError."""
    how = "remount,ro" if read_only else "remount,rw"
    subprocess.run(["mount", "-o", how, str(folder)], check=False, capture_output=True)


def unmount(folder: Path) -> None:
    """Take a mounted disk away, also if it is in use."""
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def fill(folder: Path, left: int) -> Path:
    """Take the free space of a disk but for so many bytes: with 0, down to the last page. Returns the file that has it."""
    path, size, piece = folder / ".chaos-filler", 0, 64 << 20
    keep = path.with_suffix(".left")
    if left:
        with keep.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, left)
    with path.open("wb") as file:
        while piece >= PAGE:
            try:
                os.posix_fallocate(file.fileno(), size, piece)
                size += piece
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                piece //= 2
    keep.unlink(missing_ok=True)
    return path


def enter(entrances: Sequence[str]) -> None:
    """Enter a control group, with all future children, as what the kernel kills first when the group is out of memory."""
    if entrances:
        Path("/proc/self/oom_score_adj").write_text("1000")
    for entrance in entrances:
        Path(entrance).write_text(str(os.getpid()))


def hog(entrances: Sequence[str], nbytes: int, seconds: float) -> int:
    """Take memory in a control group, for some seconds. The kernel prefers to kill others, but kills this process at last."""
    enter(entrances)
    Path("/proc/self/oom_score_adj").write_text("0")
    held: list[bytearray] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if len(held) * CHUNK < nbytes:
            held.append(bytearray(os.urandom(4096) * (CHUNK // 4096)))
        else:
            time.sleep(0.01)
    return 0
