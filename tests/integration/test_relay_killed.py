"""A host that passes a large dataset on is killed in the middle: all others have it, with the right bytes, and it is not made again."""

from __future__ import annotations

import os
import re
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import headrace as hr
from tests.waiting import eventually

WAIT = 60.0
HOSTS = 4
NBYTES = 300_000_000
SEEDS = 5
"""Small datasets made where each reader is to run: it is planned where most of its inputs are."""


def make(marks: str) -> np.ndarray:
    with open(marks, "a") as file:
        file.write("made\n")
    return bytes_of_it()


def bytes_of_it() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 1 << 62, NBYTES // 8)


def seeds() -> Iterator[int]:
    yield from range(SEEDS)


def read(array: np.ndarray, *seeds: int) -> tuple[int, int]:
    return zlib.crc32(array), os.getppid()


def first_relay(log: Path) -> tuple[str, int]:
    """A host that another one was told to have a large dataset from, and the process id of that other one."""
    pattern = re.compile(r"INFO .*relayed by another host .*process=(\d+) .* through=(\S+)\n")
    found = eventually(lambda: pattern.search(log.read_text()), every=0.001, told=log.read_text)
    return found[2], int(found[1])


def wait_until_read(pid: int, nbytes: int) -> None:
    """Until a process has read so many bytes more, from sockets and whatever else."""
    process = psutil.Process(pid)
    before = process.io_counters().read_chars
    eventually(lambda: process.io_counters().read_chars >= before + nbytes, every=0.001)


def test_all_have_the_bytes_though_the_host_in_between_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG_LEVEL", "INFO")
    log, marks = tmp_path / "log", tmp_path / "marks"
    with hr.Cluster.local(hosts=HOSTS, capacity=2 * NBYTES, log_file=log) as cluster:
        graph = hr.Graph("broadcast")
        array = graph.add(make, str(marks))
        for k in range(HOSTS):
            graph.add(read, array, *graph.add(seeds, outputs=SEEDS), name=f"reader-{k}")
        job = cluster.submit(graph)
        relay, taker = first_relay(log)
        wait_until_read(taker, NBYTES // 20)
        os.kill(cluster.pids()[relay], signal.SIGKILL)
        results = job.results(WAIT)
        assert set(cluster.hosts) >= {f"host-{k}" for k in range(HOSTS)} - {relay}  # which may be back
    assert {checksum for checksum, _ in results.values()} == {zlib.crc32(bytes_of_it())}
    assert len(results) == HOSTS
    assert marks.read_text() == "made\n"
    assert re.search(rf"the link to a host has ended .*peer={relay} ", log.read_text())
