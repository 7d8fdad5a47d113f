"""Times what a peer does with one value after another, in a writing and a reading process."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import NamedTuple, Protocol

import numpy as np

from benchmarks.shm.peers import OPENERS, Bytes, Reader

WARM_UP = 3
"""Values that are thrown away first: one that only connects, two that touch memory for the first time."""
BYTES_PER_SIZE = 1 << 28
"""About so many bytes of each size are measured..."""
MOST, LEAST = 300, 5
"""...but so many values at most, and at least."""


class Sample(NamedTuple):
    """Seconds for one value."""

    put: float
    """Until another process could map it; from an array in private memory, copy included."""
    map: float
    """In another process: until there is an array of it, unread."""
    get: float
    """In another process: until there is an array of it and all of it was read once."""
    purge: float
    """Until its memory can be used again, in both processes."""


class Sampler(Protocol):
    """A peer, ready."""

    def sample(self, nbytes: int) -> Sample:
        """Put, map, read and purge one value."""

    def close(self) -> None:
        """End everything that it started."""


def make_data(nbytes: int) -> Bytes:
    """An array in memory that is warm, and the same at every call."""
    if _data.get(nbytes) is None:
        _data.clear()
        _data[nbytes] = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    return _data[nbytes]


_data: dict[int, Bytes] = {}


def checksum(data: Bytes) -> int:
    """Reads everything once, as fast as memory gives it."""
    return int(data.view(np.uint64).sum())


class CopySampler:
    """The lower limit: a plain copy between two warm arrays of one process, and reading it."""

    def sample(self, nbytes: int) -> Sample:
        """One copy, and one reading of it."""
        data = make_data(nbytes)
        if self._target.nbytes != nbytes:
            self._target = np.zeros(nbytes, np.uint8)
        started = time.perf_counter()
        np.copyto(self._target, data)
        put = time.perf_counter()
        checksum(self._target)
        return Sample(put - started, 0.0, time.perf_counter() - put, 0.0)

    def close(self) -> None:
        """Nothing is left."""

    def __init__(self) -> None:
        self._target: Bytes = np.empty(0, np.uint8)


class ProcessSampler:
    """A writer here, and its reader in a process of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._writer = OPENERS[name][1]()
        context = multiprocessing.get_context("spawn")
        self._link, theirs = context.Pipe()
        self._process = context.Process(target=serve_reader, args=(self._writer.reader, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def sample(self, nbytes: int) -> Sample:
        """One value."""
        data = make_data(nbytes)
        started = time.perf_counter()
        token = self._writer.put(data)
        put = time.perf_counter() - started
        self._link.send(token)
        mapped, read, dropped, total = self._link.recv()
        if total not in (checksum(data), None):
            raise RuntimeError(f"{self._name} gave other bytes than were put")
        started = time.perf_counter()
        self._writer.purge(token)
        return Sample(put, mapped, read, dropped + time.perf_counter() - started)

    def close(self) -> None:
        """End the reading process, then the writer."""
        self._link.send(None)
        self._process.join()
        self._writer.close()


def serve_reader(reader: Reader, link: Connection) -> None:
    """The reading process: for each token, seconds to map, to map and read, and to drop; and the checksum, None if nothing was sent."""
    while (token := link.recv()) is not None:
        started = time.perf_counter()
        array = reader.map(token)
        mapped = time.perf_counter()
        total = checksum(array) if array.nbytes else None
        read = time.perf_counter()
        del array
        reader.drop()
        link.send((mapped - started, read - started, time.perf_counter() - read, total))


def open_sampler(name: str) -> Sampler:
    """A peer by its name. Raises ImportError where it is not installed."""
    if name == "copy":
        return CopySampler()
    if name == "ray":
        from benchmarks.shm.peer_ray import RaySampler

        return RaySampler()
    return ProcessSampler(name)


def repeats(nbytes: int) -> int:
    """How many values of a size are measured."""
    return max(LEAST, min(MOST, BYTES_PER_SIZE // nbytes))


def measure(name: str, sizes: list[int], count: int | None) -> dict[int, Sample]:
    """Medians of `count` values of each size, or of as many as the size allows."""
    sampler = open_sampler(name)
    try:
        return {nbytes: _median([sampler.sample(nbytes) for _ in range(WARM_UP + (count or repeats(nbytes)))]) for nbytes in sizes}
    finally:
        sampler.close()


def _median(samples: list[Sample]) -> Sample:
    return Sample(*(float(np.median(column)) for column in zip(*samples[WARM_UP:], strict=True)))
