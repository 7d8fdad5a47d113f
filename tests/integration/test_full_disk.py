"""NATS on a disk that is full: said everywhere within seconds, and everything works again once there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace as hr
from headrace.client.settings import SETTINGS
from tests.waiting import eventually

SOON = 5.0
BUSY = 10.0
"""Seconds that a busy machine may need beside what is asserted."""
WAIT = 100.0
BYTES = 5000
SLOW_TASKS = 100


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system that a test can fill, for temporary files; skips where none can be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-disk-"))
    size = f"size={6 * SETTINGS.disk_room_bytes}"
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("needs root, to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def fill(folder: Path) -> Path:
    """Fill a file system with a file."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    return filler


def length_graph(name: str = "length") -> hr.Graph:
    """A graph that does not fit into what is left of a page."""
    graph = hr.Graph(name)
    graph.add(len, bytes(100_000), name="length")
    return graph


def slow(number: int) -> bytes:
    time.sleep(0.1)
    return bytes(BYTES)


def slow_graph() -> hr.Graph:
    """A graph whose host has something to report all the time."""
    graph = hr.Graph("slow")
    for number in range(SLOW_TASKS):
        graph.add(slow, number, name=str(number))
    return graph


def test_a_full_disk_is_said_in_time_and_room_is_enough(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    monkeypatch.setenv("TMPDIR", str(small_disk))
    with hr.Cluster.local(hosts=1, log_file=tmp_path / "log") as cluster:
        long = cluster.submit(slow_graph())
        assert cluster.submit(length_graph()).results(WAIT) == {"length": 100_000}
        filler = fill(small_disk)
        began = time.monotonic()
        with pytest.raises(hr.NatsStoresNothing, match=r"has stored nothing for .* Make room there, and restart nats-server"):
            cluster.submit(length_graph("refused"))
        assert time.monotonic() - began < SOON + BUSY
        told = eventually(lambda: cluster.status().unstored, WAIT)
        assert all(seconds > 0 for seconds in told.values())
        eventually(lambda: {"client", "host-0"} <= cluster.status().unstored.keys(), WAIT)
        assert "NATS stores nothing" in (tmp_path / "log").read_text()
        filler.unlink()
        eventually(lambda: not cluster.status().unstored, WAIT)

        def results() -> object:
            try:
                return cluster.submit(length_graph("again")).results(WAIT)
            except hr.NatsStoresNothing:  # it was about to restart
                return None

        assert long.results(WAIT) == {str(number): bytes(BYTES) for number in range(SLOW_TASKS)}
        assert eventually(results, WAIT) == {"length": 100_000}
