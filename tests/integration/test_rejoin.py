"""No pause costs a dataset, and no host that is lost costs an output: it is still there, or made again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from tests.waiting import eventually

WAIT = 90.0
LENGTH = 100_000
"""Of an array that does not travel in the log."""


def made(folder: str, number: int, seconds: float = 0.0) -> np.ndarray:
    time.sleep(seconds)
    with open(Path(folder, str(number)), "a") as file:
        file.write("x")
    return np.full(LENGTH, float(number))


def total(values: np.ndarray, seconds: float) -> float:
    time.sleep(seconds)
    return float(values.sum())


def times_made(folder: Path) -> list[int]:
    return [path.stat().st_size for path in sorted(folder.iterdir(), key=lambda path: int(path.name))]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def held(cluster: hr.Cluster, folder: Path, tasks: int = 6, seconds: float = 0.0) -> hr.Job:
    graph = hr.Graph("held")
    for number in range(tasks):
        graph.add(made, str(folder), number, seconds, name=f"output-{number}")
    return cluster.submit(graph)


def assert_right(results: dict[str, np.ndarray]) -> None:
    assert {name: values[0] for name, values in results.items()} == {f"output-{number}": float(number) for number in range(len(results))}


@pytest.mark.parametrize("seconds", [4.5, 8.0])
def test_outputs_and_inputs_outlast_a_pause_of_nats(tmp_path: Path, seconds: float) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        outputs = held(cluster, tmp_path)
        outputs.wait(WAIT)
        graph = hr.Graph("inputs")
        for number in range(6, 10):
            graph.add(total, graph.add(made, str(tmp_path), number), 1.0, name=f"total-{number}")
        inputs = cluster.submit(graph)
        eventually(lambda: len(list(tmp_path.iterdir())) == 10)
        with stopped(cluster.pids()["nats-server"]):
            time.sleep(seconds)
        assert_right(outputs.results(WAIT))
        assert inputs.results(WAIT) == {f"total-{number}": float(number * LENGTH) for number in range(6, 10)}
        assert times_made(tmp_path) == [1] * 10


def test_outputs_outlast_a_host_that_stands_still(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=1) as cluster:
        outputs = held(cluster, tmp_path)
        outputs.wait(WAIT)
        with stopped(cluster.pids()["host-0"]):
            time.sleep(8)
        assert_right(outputs.results(WAIT))
        assert times_made(tmp_path) == [1] * 6


def test_outputs_of_a_host_that_dies_after_the_job_is_done_are_made_again(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        outputs = held(cluster, tmp_path)
        outputs.wait(WAIT)
        os.kill(cluster.pids()["host-1"], signal.SIGKILL)
        assert_right(outputs.results(WAIT))
        assert outputs.status().state == "done"
        assert set(times_made(tmp_path)) == {1, 2}


def test_outputs_of_a_host_that_dies_while_no_controller_looks_are_made_again(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        outputs = held(cluster, tmp_path, seconds=0.3)
        with stopped(cluster.pids()["controller"]):
            eventually(lambda: outputs.status().tasks["done"] == 6)
            os.kill(cluster.pids()["host-1"], signal.SIGKILL)
        assert_right(outputs.results(WAIT))
