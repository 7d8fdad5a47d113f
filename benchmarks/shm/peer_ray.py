"""Ray's object store, read by an actor."""

from __future__ import annotations

import time
from typing import Any

import ray

from benchmarks.shm.timing import Sample, Sampler, checksum, make_data

STORE_BYTES = 4 << 30
"""Ray's store must have room for a value of 1 GiB and what it has not deleted yet."""


class RayReader:
    """Runs in another process, as an actor."""

    def read(self, refs: list[Any]) -> tuple[float, float, float, int]:
        """Seconds to map, to map and read, and to drop; and the checksum."""
        started = time.perf_counter()
        array = ray.get(refs[0])
        mapped = time.perf_counter()
        total = checksum(array)
        done = time.perf_counter()
        del array
        return mapped - started, done - started, time.perf_counter() - done, total


class RaySampler(Sampler):
    """A local Ray of one node."""

    def __init__(self) -> None:
        ray.init(num_cpus=1, object_store_memory=STORE_BYTES, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        self._reader = ray.remote(num_cpus=0)(RayReader).remote()

    def sample(self, nbytes: int) -> Sample:
        """One value. The purge is the dropping of the last reference: Ray deletes the object behind it, later."""
        data = make_data(nbytes)
        started = time.perf_counter()
        ref = ray.put(data)
        put = time.perf_counter() - started
        mapped, read, dropped, total = ray.get(self._reader.read.remote([ref]))
        assert total == checksum(data), "ray"
        started = time.perf_counter()
        del ref
        return Sample(put, mapped, read, dropped + time.perf_counter() - started)

    def close(self) -> None:
        """End Ray."""
        ray.shutdown()
