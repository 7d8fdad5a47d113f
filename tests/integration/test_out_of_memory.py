"""A task that takes all memory of its control group: told from other deaths, tried alone, and given up with the numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.cgroups import Cgroup

MIB = 1 << 20
LIMIT = 900 * MIB

JOB = """
import os, sys
import numpy as np

for entrance in sys.argv[1:]:
    with open(entrance, "w") as file:
        file.write(str(os.getpid()))

import headrace as hr

def hog():
    taken = [np.ones(1 << 20) for _ in range(200)]
    return len(taken)

def small(i):
    return i

if __name__ == "__main__":
    g = hr.Graph("hogs")
    g.output(g.add(hog, name="hog"), *(g.add(small, i, name=f"x{i}") for i in range(4)))
    with hr.Cluster.local(hosts=1, runners=2, capacity=50 << 20) as cluster:
        job = cluster.submit(g)
        try:
            job.results(60)
        except hr.TaskFailed as error:
            print(error.reason)
            print(error)
        ok = hr.Graph("ok")
        ok.output(*(ok.add(small, i, name=f"x{i}") for i in range(4)))
        print(cluster.submit(ok).results(30))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs control groups")
def test_a_task_that_takes_all_memory_is_tried_alone_and_fails_with_what_it_needed_and_what_hosts_have() -> None:
    group = Cgroup.make(LIMIT)
    if group is None:
        pytest.skip("no control group can be made here")
    try:
        command = [sys.executable, "-c", JOB, *group.entrances]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    finally:
        group.kill()
        group.remove()
    assert ended.returncode == 0, ended.stderr
    reason, told, others = ended.stdout.splitlines()
    assert reason == "out_of_memory"
    assert told.startswith("task 'hog' failed (out of memory): the kernel killed the runner (process ")
    assert "of the 900 MiB that host host-0 has" in told
    assert told.endswith("It ran alone, and no host has more memory (host-0: 900 MiB). Have the task need less, or start a larger host")
    assert others == "{'x0': 0, 'x1': 1, 'x2': 2, 'x3': 3}"
