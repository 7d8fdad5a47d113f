"""Chooses places for blocks in the address space: best fit, in memory that was used before if any of it fits.

Touching a page for the first time costs far more than copying into it, so free space has a temperature. **Warm** ranges were in use and
have memory behind them; **cold** ones are only address space: never used, or given back to the system (`Allocator.trim`). An allocation
takes the best fit among the warm ranges; failing that, cold space, beginning with the warm range just before it if there is one; failing
that, any run of free neighbours, whatever their temperatures.

The address space has two zones that do not mix, so that a small block that lives long never sits in the middle of a hole that a large array
left: `[0, 3/4)` for large blocks, in whole pages, and the rest for small ones.
"""

import mmap
from collections.abc import Iterator

from .ranges import FreeRanges

PAGE = mmap.PAGESIZE
"""Bytes of a page, the unit in which the system backs memory."""

ALIGNMENT = 64
"""Bytes of a cache line, enough for any vector instruction. Sizes and offsets of small blocks are multiples of it."""

LARGE = 64 << 10
"""Bytes from which blocks are whole pages: rounding loses at most 1/16 with 4 KiB pages, and all of the block can be given back."""

SMALL_SHARE = 4
"""The zone of small blocks is one part in this many: address space costs nothing, and large blocks suffer more from fragmentation."""


def round_up(nbytes: int, unit: int) -> int:
    """Round `nbytes` up to a multiple of `unit`.

    >>> round_up(1, 64), round_up(64, 64)
    (64, 64)
    """
    return -(-nbytes // unit) * unit


class Zone:
    """One stretch of address space and its free ranges. Cold ranges begin and end at page boundaries, always."""

    __slots__ = ("_cold", "_warm")

    def __init__(self, start: int, end: int) -> None:
        """Make a zone of `[start, end)`, all free and cold; both must be multiples of the page size."""
        self._warm = FreeRanges()
        self._cold = FreeRanges()
        if start < end:
            self._cold.add(start, end)

    @property
    def cold(self) -> int:
        """Bytes that have no memory behind them."""
        return self._cold.nbytes

    def allocate(self, size: int) -> int | None:
        """Take `size` bytes. Returns their offset, or None if no run of free bytes is long enough."""
        start = self._warm.find(size)
        if start is not None:
            self._warm.take(start, size)
            return start
        start = self._cold.find(size)
        if start is None:
            return self._allocate_run(size)
        before = self._warm.start_of(start)
        return self._claim(start if before is None else before, size)

    def free(self, start: int, size: int) -> None:
        """Give back exactly what one `allocate` took."""
        self._warm.add(start, start + size)

    def free_ranges(self) -> Iterator[tuple[int, int]]:
        """Yield every free range as `(start, end)`, warm ones first."""
        yield from self._warm
        yield from self._cold

    def trim(self, excess: int) -> list[tuple[int, int]]:
        """Make at least `excess` bytes of warm pages cold, or all there are.

        Returns `(offset, nbytes)` in whole pages, largest ranges first.
        """
        chosen: list[tuple[int, int]] = []
        for start, end in self._warm.largest_first():
            if excess <= 0:
                break
            last = end // PAGE * PAGE
            first = max(round_up(start, PAGE), last - round_up(excess, PAGE))
            if first < last:
                self._cool(start, end, first, last)
                chosen.append((first, last - first))
                excess -= last - first
        return chosen

    def _cool(self, start: int, end: int, first: int, last: int) -> None:
        """Make the pages `[first, last)` of the warm range `[start, end)` cold."""
        self._warm.take(start, end - start)
        if start < first:
            self._warm.add(start, first)
        if last < end:
            self._warm.add(last, end)
        self._cold.add(first, last)

    def _allocate_run(self, size: int) -> int | None:
        """Take free ranges of both temperatures that touch. This is slow, O(n log n), and the last resort."""
        if self._warm.nbytes + self._cold.nbytes < size:
            return None
        run, previous = 0, -1
        for start, end in sorted(self.free_ranges()):
            if start != previous:
                run = start
            if end - run >= size:
                return self._claim(run, size)
            previous = end
        return None

    def _claim(self, start: int, size: int) -> int:
        """Take `size` bytes at `start`, where free ranges follow one another. The rest of the last page becomes warm."""
        position, end = start, start + size
        while position < end:
            warm_end = self._warm.end_of(position)
            if warm_end is not None:
                stop = min(warm_end, end)
                self._warm.take(position, stop - position)
            else:
                stop = min(self._cold.end_of(position) or 0, round_up(end, PAGE))
                self._cold.take(position, stop - position)
            position = stop
        if position > end:
            self._warm.add(end, position)
        return start


class Allocator:
    """An allocator of places in an address space. It knows only offsets and sizes; the store knows whose they are.

    >>> places = Allocator(1 << 20)
    >>> places.allocate(100, room=1 << 20), places.allocate(1 << 18, room=1 << 20)
    ((786432, 128), (0, 262144))
    """

    __slots__ = ("_large", "_small", "_small_start", "address_space", "largest")

    def __init__(self, address_space: int) -> None:
        """Divide `address_space` bytes (rounded down to a page) into the two zones.

        `largest` is the size, in bytes, above which nothing ever fits.
        """
        self.address_space = address_space // PAGE * PAGE
        self._small_start = self.address_space - self.address_space // SMALL_SHARE // PAGE * PAGE
        self._large = Zone(0, self._small_start)
        self._small = Zone(self._small_start, self.address_space)
        self.largest = self._small_start

    @property
    def backed(self) -> int:
        """Bytes that have, or may have, memory behind them: blocks and warm ranges."""
        return self.address_space - self._large.cold - self._small.cold

    def allocate(self, nbytes: int, room: int) -> tuple[int, int] | None:
        """Take a place for `nbytes` that is at most `room` bytes when rounded. Returns `(offset, size)`, or None.

        A small block for which its own zone is full goes among the large ones, as a whole page.
        """
        if nbytes < LARGE:
            size = round_up(nbytes or 1, ALIGNMENT)
            offset = self._small.allocate(size) if size <= room else None
            if offset is not None:
                return offset, size
        size = round_up(nbytes or 1, PAGE)
        offset = self._large.allocate(size) if size <= room else None
        return None if offset is None else (offset, size)

    def free(self, offset: int, size: int) -> None:
        """Give back exactly what one `allocate` took."""
        (self._small if offset >= self._small_start else self._large).free(offset, size)

    def free_ranges(self) -> list[tuple[int, int]]:
        """Return every free range as `(offset, nbytes)`, in order of offset. For metrics and tests: O(n log n)."""
        ranges = sorted([*self._large.free_ranges(), *self._small.free_ranges()])
        return [(start, end - start) for start, end in ranges]

    def trim(self, target: int) -> list[tuple[int, int]]:
        """Choose free pages to give back to the system until `backed` is at most `target` bytes, or no free page is left.

        Returns `(offset, nbytes)` in whole pages, largest ranges first (fewest calls to the system); they count as cold from now on.
        """
        chosen = self._large.trim(self.backed - target)
        return chosen + self._small.trim(self.backed - target)
