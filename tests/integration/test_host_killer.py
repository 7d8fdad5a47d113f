"""A task that brings its host down every time fails its job; the jobs of others are done."""

from __future__ import annotations

import os
import signal
import time

import pytest

import headrace as hr


def bring_the_host_down() -> None:
    """Kill the agent of the host that executes this: the parent of the runner's fork server."""
    with open(f"/proc/{os.getppid()}/stat") as stat:
        agent = int(stat.read().rsplit(")", 1)[1].split()[1])
    os.kill(agent, signal.SIGKILL)
    time.sleep(60)


def harmless(i: int) -> int:
    time.sleep(0.2)
    return i


def test_a_task_that_brings_every_host_down_fails_its_job_by_name_and_no_other() -> None:
    bad, good = hr.Graph("bad"), hr.Graph("good")
    bad.output(bad.add(bring_the_host_down, name="killer"))
    good.output(*(good.add(harmless, i, name=f"x{i}") for i in range(20)))
    with hr.Cluster.local(hosts=2, runners=2) as cluster:
        failing, going_on = cluster.submit(bad), cluster.submit(good)
        with pytest.raises(hr.TaskFailed) as failed:
            failing.results(100)
        assert failed.value.reason == "host_lost"
        assert "task 'killer' failed (host lost): 3 hosts were lost while they executed it: attempt " in str(failed.value)
        assert going_on.results(60) == {f"x{i}": i for i in range(20)}
