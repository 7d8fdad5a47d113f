"""One unnamed file of shared memory per host, mapped by every process that reads or writes its blocks.

The file never has a name, so however its processes end, SIGKILL included, nothing is left of it. Others get it as a file
descriptor: inherited (`subprocess.Popen(pass_fds=[arena.fd])`) or over a unix domain socket (`socket.send_fds`).

Each process maps it twice: once to write, and once read-only for views that are handed out, so that no user of a
view can change what others see, not even by mistake through a pointer.
"""

import errno
import mmap
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from .allocator import PAGE, round_up
from .backing import default_folder, give_memory, open_unnamed, take_memory, write_range
from .errors import ArenaFull


class ArenaMap(mmap.mmap):
    """The memory of an arena. Arrays in it have this type as their last base, which distinguishes them from arrays over other maps."""


class Arena:
    """A stretch of shared memory, addressed by offset. Make one with `Arena.create`, join one with `Arena.attach`.

    An arena knows nothing of blocks: its owner's `Store` knows which bytes belong to which block.
    """

    def __init__(self, fd: int) -> None:
        """Map the file open at `fd`, which then belongs to this arena. Use `create` or `attach`."""
        self.fd = fd
        """The file descriptor by which other processes attach; -1 once closed."""
        self.address_space = os.fstat(fd).st_size
        """Bytes that can be addressed; most of them have no memory behind them."""
        self._limit = self.address_space
        self._writable_map = ArenaMap(fd, self.address_space)
        self._readonly_map = ArenaMap(fd, self.address_space, access=mmap.ACCESS_READ)
        self._writable = memoryview(self._writable_map)
        self._starts = _address(self._writable_map), _address(self._readonly_map)
        self._reserved = bytearray()  # 1 for a page known to have memory; made at the first `reserve`, so that readers do without
        self.backed = 0
        """Bytes that this object has reserved and not given back."""

    @classmethod
    def create(cls, address_space: int, folder: str | os.PathLike[str] | None = None) -> Self:
        """Make a new arena. It takes no memory until `reserve` or a write does.

        Args:
            address_space: bytes, rounded up to a page. Only limits offsets: choose a few times the memory you mean to use.
            folder: where the unnamed file lives: `/dev/shm` where it exists, else the temporary folder. No entry ever appears in it.

        Raises:
            ValueError: the address space is not positive.
            OSError: the folder cannot be written, or the system refuses that much address space.
        """
        if address_space <= 0:
            raise ValueError(f"an arena of {address_space} bytes: the address space must be positive")
        fd = open_unnamed(Path(folder) if folder is not None else default_folder())
        try:
            os.ftruncate(fd, round_up(address_space, PAGE))
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int) -> Self:
        """Map an arena that another process made, by a file descriptor to it, which then belongs to the new object.

        Raises:
            OSError: `fd` is not an open file, or cannot be mapped for reading and writing.
            ValueError: the file is empty, so it is no arena.
        """
        return cls(fd)

    def writable(self, offset: int, nbytes: int) -> memoryview:
        """Return the bytes at `offset`, to write into. Only for a block's writer, before it is sealed.

        Raises:
            ValueError: the range is not inside the arena, or the arena is closed.
        """
        if offset < 0 or nbytes < 0 or offset + nbytes > self._limit:
            raise self._out_of_range(offset, nbytes)
        return self._writable[offset : offset + nbytes]

    def readonly(self, offset: int, nbytes: int, on_release: Callable[[], None]) -> memoryview:
        """Return the bytes at `offset`, read-only and without a copy.

        `on_release` is called exactly once, when the last thing made from the view is gone: slices, arrays, their views, objects
        unpickled over it. It is called at any moment and in any thread in which Python frees objects, so it must be quick and
        take no lock: appending to a list is right. It is not called for views that live until the process ends.

        Raises:
            ValueError: the range is not inside the arena, or the arena is closed.
        """
        if offset < 0 or nbytes < 0 or offset + nbytes > self._limit:
            raise self._out_of_range(offset, nbytes)
        # Everything that is made from the view keeps `exporter` alive: numpy shortens chains of bases, but only down to an array whose
        # base is not an array. The base of this one is the map.
        exporter = np.frombuffer(self._readonly_map, np.uint8, nbytes, offset)
        weakref.finalize(exporter, on_release).atexit = False
        return exporter.data

    def lend(self, offset: int, nbytes: int, on_release: Callable[[], None]) -> memoryview:
        """Lend the bytes at `offset`, to write into, and call `on_release` when nothing made from the view is left.

        It combines `writable` and the callback of `readonly`.

        Raises:
            ValueError: the range is not inside the arena, or the arena is closed.
        """
        if offset < 0 or nbytes < 0 or offset + nbytes > self._limit:
            raise self._out_of_range(offset, nbytes)
        exporter = np.frombuffer(self._writable_map, np.uint8, nbytes, offset)
        weakref.finalize(exporter, on_release).atexit = False
        return exporter.data

    def offset_of(self, data: Any) -> int | None:
        """Return the offset in the arena of the bytes of `data`: an array, or any other buffer; in a view of this object, read-only or not.

        None where they lie elsewhere, and also for what has no bytes, or gaps between them.

        >>> arena = Arena.create(1 << 20)
        >>> array = np.frombuffer(arena.writable(4096, 800), np.float64)
        >>> arena.offset_of(array), arena.offset_of(array[10:]), arena.offset_of(array.copy())
        (4096, 4176, None)
        """
        array = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8) if memoryview(data).nbytes else np.empty(0)
        if self.fd < 0 or not array.nbytes or not (array.flags.c_contiguous or array.flags.f_contiguous):
            return None
        address = array.__array_interface__["data"][0]
        for start in self._starts:
            if 0 <= address - start <= self.address_space - array.nbytes:
                return int(address - start)
        return None

    def reserve(self, offset: int, nbytes: int) -> None:
        """Allocate memory for a range before it is written, so that a full file system raises an error here, and no SIGBUS later.

        Pages that this object reserved before cost nothing, so only the owner, which sees every block, should call it.

        Raises:
            ArenaFull: the file system has no room left.
            ValueError: the range is not inside the arena, or the arena is closed.
        """
        if offset < 0 or nbytes < 0 or offset + nbytes > self._limit:
            raise self._out_of_range(offset, nbytes)
        self._note_reserved()
        last = -(-(offset + nbytes) // PAGE)
        first = self._reserved.find(0, offset // PAGE, last)
        while first >= 0:
            known = self._reserved.find(1, first, last)
            stop = last if known < 0 else known
            self._back(first, stop)
            first = self._reserved.find(0, stop, last)

    def is_backed(self, offset: int, nbytes: int) -> bool:
        """Return whether this object knows of memory behind all pages of a range, by `reserve` or `write`."""
        return bool(self._reserved) and self._reserved.find(0, offset // PAGE, -(-(offset + nbytes) // PAGE)) < 0

    def write(self, offset: int, data: memoryview) -> None:
        """Copy plain bytes to `offset`, by the system: where no memory is yet, that costs half of what it takes to reserve and touch it.

        Only for a block's writer, before it is sealed, and, as `reserve`, only in the process of the arena's owner.

        Raises:
            ArenaFull: the file system has no room left.
            ValueError: the range is not inside the arena, or the arena is closed.
        """
        if offset < 0 or offset + data.nbytes > self._limit:
            raise self._out_of_range(offset, data.nbytes)
        self._note_reserved()
        first, stop = offset // PAGE, -(-(offset + data.nbytes) // PAGE)
        try:
            write_range(self.fd, data, offset)
        except OSError as error:
            raise self._no_room(error, data.nbytes) from error
        self.backed += self._reserved.count(0, first, stop) * PAGE
        self._reserved[first:stop] = b"\1" * (stop - first)

    def release_pages(self, offset: int, nbytes: int) -> int:
        """Give the memory of the whole pages inside a range back to the system: they read as zeros, in every process.

        Only for ranges that no block and no view covers. Returns the bytes given back: 0 where none had memory, or the system cannot do it.

        Raises:
            ValueError: the range is not inside the arena, or the arena is closed.
        """
        if offset < 0 or nbytes < 0 or offset + nbytes > self._limit:
            raise self._out_of_range(offset, nbytes)
        first, stop = -(-offset // PAGE), (offset + nbytes) // PAGE
        pages = self._reserved.count(1, first, stop) if first < stop else 0
        if not pages or not take_memory(self.fd, first * PAGE, (stop - first) * PAGE):
            return 0
        self._reserved[first:stop] = bytes(stop - first)
        self.backed -= pages * PAGE
        return pages * PAGE

    def close(self) -> None:
        """Close the file. Views that are still alive stay valid: their mapping goes with the last of them.

        Closing again does nothing.
        """
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd, self._limit = -1, -1
        self._writable.release()
        for mapping in (self._writable_map, self._readonly_map):
            try:
                mapping.close()
            except BufferError:  # views are alive; they own the mapping from here on
                continue
        del self._writable_map, self._readonly_map

    def __enter__(self) -> Self:
        """Return the arena; leaving the block closes it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the arena."""
        self.close()

    def _note_reserved(self) -> None:
        """Start to record which pages have memory."""
        if not self._reserved:
            self._reserved = bytearray(self.address_space // PAGE)

    def _back(self, first: int, stop: int) -> None:
        """Reserve the pages `[first, stop)`."""
        try:
            give_memory(self.fd, first * PAGE, (stop - first) * PAGE)
        except OSError as error:
            raise self._no_room(error, (stop - first) * PAGE) from error
        self._reserved[first:stop] = b"\1" * (stop - first)
        self.backed += (stop - first) * PAGE

    def _no_room(self, error: OSError, nbytes: int) -> OSError:
        """Return the error to raise if memory for `nbytes` bytes is not available."""
        if error.errno != errno.ENOSPC:
            return error
        return ArenaFull(
            errno.ENOSPC,
            f"no room for {nbytes} more bytes of shared memory, with {self.backed} in use here: "
            "free some, make the store smaller, or enlarge the file system (for a container: its shm size)",
        )

    def _out_of_range(self, offset: int, nbytes: int) -> ValueError:
        if self.fd < 0:
            return ValueError("the arena is closed")
        return ValueError(f"{nbytes} bytes at offset {offset} are not inside the arena of {self.address_space} bytes")


def _address(mapping: mmap.mmap) -> int:
    """Return the address of a mapping in this process's memory."""
    return int(np.frombuffer(mapping, np.uint8, 1).__array_interface__["data"][0])
