"""What stops for a while, or ends and is started again, costs time and nothing else: the job finishes with the right values."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import headrace as hr
from headrace.client.settings import SETTINGS
from tests.waiting import eventually, wait_for

WAIT = 90.0


def slow(number: int, seconds: float) -> int:
    time.sleep(seconds)
    return number


def submitted(cluster: hr.Cluster, tasks: int = 6, seconds: float = 1.0) -> hr.Job:
    """A job of tasks that take a second each, of which one has begun."""
    graph = hr.Graph("slow")
    graph.add(sum, [graph.add(slow, number, seconds) for number in range(tasks)], name="sum")
    job = cluster.submit(graph)
    eventually(lambda: job.status().tasks["started"] or job.status().state == "done")
    return job


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    pids = list(pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def everything(cluster: hr.Cluster) -> list[int]:
    supervisor = psutil.Process(cluster.pids()["supervisor"])
    return [process.pid for process in supervisor.children(recursive=True)] + [supervisor.pid]


@pytest.mark.parametrize("seconds", [4.5, 20])
def test_nats_stands_still(seconds: float) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        job = submitted(cluster)
        pids = cluster.pids()
        with stopped([pids["nats-server"]]):
            time.sleep(seconds)
        assert job.results(WAIT) == {"sum": 15}
        assert cluster.pids() == pids
        eventually(lambda: cluster.hosts == ["host-0", "host-1"])


def test_the_whole_cluster_stands_still() -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        job = submitted(cluster)
        pids = cluster.pids()
        with stopped(everything(cluster)):
            time.sleep(8)
        assert job.results(WAIT) == {"sum": 15}
        assert cluster.pids() == pids
        eventually(lambda: cluster.hosts == ["host-0", "host-1"])
        assert cluster.compute(hr.delayed(slow)(1, 0), timeout=WAIT) == 1


@pytest.mark.parametrize("service", ["host-0", "controller", "scheduler", "publisher"])
def test_one_service_stands_still(service: str) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        job = submitted(cluster)
        pids = cluster.pids()
        with stopped([pids[service]]):
            time.sleep(8)
        assert job.results(WAIT) == {"sum": 15}
        assert cluster.pids() == pids
        eventually(lambda: cluster.hosts == ["host-0", "host-1"])
        assert cluster.compute(hr.delayed(slow)(1, 0), timeout=WAIT) == 1


@pytest.mark.parametrize("service", ["nats-server", "host-1", "controller", "scheduler", "publisher"])
def test_a_service_that_is_killed_is_started_again(service: str) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        job = submitted(cluster)
        pid = cluster.pids()[service]
        os.kill(pid, signal.SIGKILL)
        assert job.results(WAIT) == {"sum": 15}
        eventually(lambda: cluster.pids()[service] != pid)
        eventually(lambda: cluster.hosts == ["host-0", "host-1"])
        assert cluster.compute(hr.delayed(slow)(1, 0), timeout=WAIT) == 1


def test_the_only_host_is_killed_and_comes_back(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph("waits")
        graph.add(wait_for, str(tmp_path / "go"), name="gate")
        job = cluster.submit(graph)
        eventually(lambda: job.status().tasks["started"])
        os.kill(cluster.pids()["host-0"], signal.SIGKILL)
        (tmp_path / "go").touch()
        assert job.results(WAIT) == {"gate": str(tmp_path / "go")}


def test_outputs_of_a_job_that_is_done_outlast_a_restart_of_nats() -> None:
    with hr.Cluster.local(hosts=1) as cluster:
        job = submitted(cluster, tasks=3, seconds=0.0)
        job.wait(WAIT)
        os.kill(cluster.pids()["nats-server"], signal.SIGKILL)
        assert job.results(WAIT) == {"sum": 3}


def test_a_service_that_ends_again_and_again_ends_the_cluster_and_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG_LEVEL", "INFO")
    with hr.Cluster.local(hosts=1) as cluster:
        job = submitted(cluster, tasks=1, seconds=600.0)
        pid = 0
        for _ in range(SETTINGS.restarts + 1):
            pid = eventually(lambda before=pid: (now := cluster.pids()["controller"]) != before and now)
            os.kill(pid, signal.SIGKILL)
        often = f"for the {SETTINGS.restarts + 1}th time"
        with pytest.raises(hr.ClusterFailed, match=rf"controller of the local cluster was killed by signal 9, {often}"):
            job.results(WAIT)
        with pytest.raises(hr.ClusterFailed, match="controller"):
            submitted(cluster)
