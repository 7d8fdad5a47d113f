"""Stores behind which there is not the memory, or not the disk, that they were set to: jobs end all the same."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import headrace as hr
from tests.waiting import eventually

MB = 1 << 20
N = 1_965_000
"""Numbers of a field of 15 MB."""

JOB = """
import os, sys
import numpy as np
import headrace as hr

def same(x):
    return x + 0.5

if __name__ == "__main__":
    os.environ["HEADRACE_SHM_DIR"], os.environ["HEADRACE_SPILL_DIR"], hosts = sys.argv[1:]
    g = hr.Graph("more-than-fits")
    made = [g.add(np.full, 1_965_000, float(i), name=f"a{i}") for i in range(12)]
    g.output(*made, *(g.add(same, each, name=f"b{i}") for i, each in enumerate(made)))
    with hr.Cluster.local(hosts=int(hosts), runners=2, capacity=200 << 20, log_file=f"{sys.argv[1]}.log") as cluster:
        try:
            results = cluster.submit(g).results(60)
            print(sorted({float(end) for value in results.values() for end in (value.min(), value.max())}))
        except hr.TaskFailed as error:
            print(error)
"""

IN_A_SMALL_FOLDER = 'mount -t tmpfs -o size=64m none "$1" && exec "$4" -c "$5" "$1" "$2" "$3"'
"""Run in a mount namespace of its own, so that nobody else sees the mount and nothing of it stays."""


def in_a_small_folder(tmp_path, spill: str, hosts: int) -> str:
    """What the job prints if the folder of shared memory has 64 MB, and the store a capacity of 200 MB."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "none", str(small)], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make mount namespaces")
    command = [*alone, "sh", "-c", IN_A_SMALL_FOLDER, "sh", str(small), spill, str(hosts), sys.executable, JOB]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mount namespaces")
def test_what_the_folder_of_shared_memory_has_no_room_for_goes_to_disk(tmp_path, hosts):
    assert in_a_small_folder(tmp_path, str(tmp_path), hosts) == str([k / 2 for k in range(24)])
    log = (tmp_path / "small.log").read_text()
    assert "HEADRACE_CAPACITY (--capacity) is 209,715,200 bytes, but " in log
    assert "has room for 67,108,864. Datasets that do not fit there are moved to disk" in log


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mount namespaces")
def test_without_a_disk_the_cure_is_named(tmp_path):
    told = in_a_small_folder(tmp_path, "none", 1)
    assert "the folder of shared memory is full" in told
    assert "Enlarge the folder (for a container: its shm size)" in told
    assert "Set HEADRACE_SPILL_DIR to a folder on a disk with room" in told
    assert "Raise HEADRACE_CAPACITY" not in told


def same(x):
    return x + 0.5


def test_while_the_disk_cannot_be_used_data_stays_in_memory_and_status_says_why(tmp_path, monkeypatch):
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("HEADRACE_SPILL_DIR", str(folder))
    with hr.Cluster.local(hosts=1, runners=2, capacity=40 * MB) as cluster:
        folder.rmdir()
        results = [cluster.submit(graph_of(4)).results(60)]
        [[told]] = cluster.status().trouble.values()
        assert told.startswith("nothing is moved to disk for a while: [Errno 2] No such file or directory")
        folder.mkdir()
        eventually(lambda: not cluster.status().trouble)
        results.append(cluster.submit(graph_of(8)).results(60))
    for each in results:
        assert {name: float(value.max()) for name, value in each.items()} == {
            f"{kind}{i}": i + extra for i in range(len(each) // 2) for kind, extra in (("a", 0.0), ("b", 0.5))
        }


def graph_of(n: int) -> hr.Graph:
    """n fields of 15 MB, and as many made of them, all of them outputs."""
    g = hr.Graph("fields")
    made = [g.add(np.full, N, float(i), name=f"a{i}") for i in range(n)]
    g.output(*made, *(g.add(same, each, name=f"b{i}") for i, each in enumerate(made)))
    return g
