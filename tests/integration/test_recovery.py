"""What breaks under a job and what becomes of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from tests.waiting import eventually, wait_for

WAIT = 60.0


def die_once(marker: str) -> str:
    """Kills its runner the first time it is called."""
    if not os.path.exists(marker):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def always_die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def one() -> int:
    return 1


def inc(x: int) -> int:
    return x + 1


def die_once_after(marker: str, x: int) -> int:
    die_once(marker)
    return x + 1


def raise_once(marker: str) -> str:
    if not os.path.exists(marker):
        Path(marker).touch()
        raise ValueError("the first time")
    return "well"


def large(k: int) -> np.ndarray:
    return np.full(200_000, float(k))


def slow_sum(gate: str, *arrays: np.ndarray) -> float:
    wait_for(gate)
    return float(sum(a.sum() for a in arrays))


def touch(path: str, value: object) -> object:
    Path(path).touch()
    return value


def test_a_runner_that_dies_is_replaced_and_its_task_is_retried(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        graph = hr.Graph()
        graph.output(graph.add(sum, [graph.add(inc, k) for k in range(50)], name="others"))
        graph.output(graph.add(die_once, str(tmp_path / "died"), name="text"))
        assert cluster.submit(graph).results(WAIT) == {"others": sum(range(1, 51)), "text": "survived"}


def test_a_chain_whose_runner_died_in_the_middle_runs_again_from_its_head(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph()
        node = graph.add(one)
        for _ in range(5):
            node = graph.add(inc, node)
        node = graph.add(die_once_after, str(tmp_path / "died"), node)
        for _ in range(5):
            node = graph.add(inc, node)
        assert cluster.compute(node, timeout=WAIT) == 12


def test_a_task_that_always_kills_its_runner_fails_the_job_and_the_cluster_goes_on() -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        graph = hr.Graph()
        graph.add(always_die, 0, name="killer")
        with pytest.raises(hr.TaskFailed, match=r"killer.*signal 9"):
            cluster.submit(graph).results(WAIT)
        assert cluster.compute(hr.delayed(inc)(1), timeout=WAIT) == 2


def test_a_task_that_asked_for_retries_is_tried_again(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=1) as cluster:
        retried = hr.task(raise_once, retries=2)
        assert cluster.compute(retried.delay(str(tmp_path / "raised")), timeout=WAIT) == "well"


def test_what_a_lost_host_had_is_made_again_on_the_others(tmp_path: Path) -> None:
    """A host is killed after it has made large datasets that a task on the other one waits for together with a gate."""
    with hr.Cluster.local(hosts=2) as cluster:
        graph = hr.Graph("lost")
        made = [graph.add(large, k) for k in range(6)]
        seen = [graph.add(touch, str(tmp_path / f"made-{k}"), node) for k, node in enumerate(made)]
        graph.output(graph.add(slow_sum, str(tmp_path / "go"), *seen, name="sum"))
        job = cluster.submit(graph)
        eventually(lambda: len(list(tmp_path.glob("made-*"))) == 6)
        os.kill(cluster.pids()["host-1"], signal.SIGKILL)
        (tmp_path / "go").touch()
        assert job.results(WAIT) == {"sum": sum(range(6)) * 200_000.0}
        assert cluster.compute(hr.delayed(inc)(1), timeout=WAIT) == 2


def test_an_output_that_its_host_took_along_is_made_again_and_fetched_from_elsewhere(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        graph = hr.Graph("outputs")
        made = [graph.add(large, k, name=f"large-{k}") for k in range(6)]
        graph.output(made, graph.add(slow_sum, str(tmp_path / "go"), name="gate"))
        job = cluster.submit(graph)
        eventually(lambda: job.status().available >= 6)
        os.kill(cluster.pids()["host-1"], signal.SIGKILL)
        eventually(lambda: cluster.hosts == ["host-0"])
        (tmp_path / "go").touch()
        results = job.results(WAIT)
        assert all((results[f"large-{k}"] == k).all() for k in range(6))
