"""A long task holds up nothing that does not need it: within a host, across hosts, and inside one job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace as hr
from tests.waiting import eventually, wait_for

SOON = 5.0
"""Seconds that nothing here takes unless it waits for a long task, which none of these tests ends before. A busy machine needs some."""


def one(value: int) -> int:
    return value


def one_or_wait(path: str) -> str:
    """Short, unless it is given a path."""
    return wait_for(path) if path else ""


class Long:
    """A job of tasks that end once `end` is called."""

    def __init__(self, cluster: hr.Cluster, path: Path, tasks: int = 1) -> None:
        graph = hr.Graph("long")
        for _ in range(tasks):
            graph.add(wait_for, str(path))
        self._path = path
        self.job = cluster.submit(graph)

    def end(self) -> None:
        self._path.touch()
        self.job.wait()


def seconds_of(cluster: hr.Cluster, tasks: int) -> float:
    """What a job of so many short tasks takes."""
    graph = hr.Graph("short")
    for value in range(tasks):
        graph.add(one, value)
    began = time.monotonic()
    assert sorted(cluster.submit(graph).results(timeout=60.0).values()) == list(range(tasks))
    return time.monotonic() - began


@pytest.fixture(params=[(1, 2), (1, 8), (4, 1), (2, 2)], ids=["1x2", "1x8", "4x1", "2x2"])
def cluster(request: pytest.FixtureRequest) -> Iterator[hr.Cluster]:
    hosts, runners = request.param
    with hr.Cluster.local(hosts=hosts, runners=runners) as cluster:
        yield cluster


def test_short_jobs_do_not_wait_for_a_long_one(cluster: hr.Cluster, tmp_path: Path) -> None:
    """Neither those that come right after it, nor those that come when it is known to run."""
    seconds_of(cluster, 200)  # runners import this module
    long = Long(cluster, tmp_path / "go")
    assert max(seconds_of(cluster, tasks) for tasks in (20, 200, 1, 20, 200)) < SOON
    eventually(lambda: long.job.status().tasks["started"], 10.0)
    assert max(seconds_of(cluster, tasks) for tasks in (1, 20, 200)) < SOON
    long.end()


def test_a_task_of_a_job_that_was_cancelled_holds_up_nobody_either(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=1, runners=2) as cluster:
        seconds_of(cluster, 200)
        first = Long(cluster, tmp_path / "first")
        assert seconds_of(cluster, 1) < SOON
        first.job.cancel()
        second = Long(cluster, tmp_path / "second")
        assert seconds_of(cluster, 20) < SOON
        second.end()


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)], ids=["1x2", "2x1"])
def test_what_was_placed_behind_a_task_that_was_thought_to_be_short_is_moved(shape: tuple[int, int], tmp_path: Path) -> None:
    """The function was short a hundred times, and then it is not."""
    hosts, runners = shape
    go = tmp_path / "go"
    with hr.Cluster.local(hosts=hosts, runners=runners) as cluster:
        graph = hr.Graph("uneven")
        for n in range(2000):
            graph.add(one_or_wait, str(go) if n == 700 else "")
        job = cluster.submit(graph)
        eventually(lambda: job.status().tasks["done"] == 1999, 30.0, told=job.status)
        go.touch()
        assert len(job.results(timeout=60.0)) == 2000


def test_what_comes_after_short_tasks_does_not_wait_for_a_long_one_of_the_same_job(tmp_path: Path) -> None:
    go, made = tmp_path / "go", tmp_path / "made"
    with hr.Cluster.local(hosts=1, runners=2) as cluster:
        graph = hr.Graph("mixed")
        graph.add(wait_for, str(go))
        graph.add(_touch, str(made), [graph.add(one, n) for n in range(4)])
        job = cluster.submit(graph)
        eventually(made.exists, 30.0, told=job.status)
        go.touch()
        job.results(timeout=60.0)


def _touch(path: str, _: list[int]) -> None:
    Path(path).touch()
