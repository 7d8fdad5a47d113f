"""Random numbers of tasks, on several runners of several hosts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import headrace as hr

WAIT = 30.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=2, runners=2) as cluster:
        yield cluster


def noise() -> float:
    return float(np.random.normal())


def steps() -> Iterator[Any]:
    """Draws between its yields, with results that wait for room."""
    for _ in range(3):
        yield np.random.normal(size=300_000)


GENERATOR = np.random.default_rng()

DRAWING: dict[str, Callable[..., Any]] = {
    "np.random.normal": np.random.normal,
    "random.random": random.random,
    "default_rng().normal": np.random.default_rng().normal,
    "a function": noise,
    "a lambda": lambda: GENERATOR.normal(),
    "a partial": partial(lambda generator: float(generator.normal()), np.random.default_rng()),
}


@pytest.mark.parametrize("name", DRAWING)
def test_tasks_draw_distinct_numbers_which_repeat(cluster: hr.Cluster, name: str) -> None:
    graph = hr.Graph("draws")
    for _ in range(40):
        graph.add(DRAWING[name])
    first, second = (cluster.submit(graph).results(WAIT) for _ in range(2))
    assert len(set(first.values())) == 40
    assert first == second


def test_a_retried_task_draws_the_same_numbers(cluster: hr.Cluster, tmp_path: Any) -> None:
    def draw(mark: str) -> float:
        with open(mark, "a+") as file:
            file.write(f"{np.random.normal()}\n")
            file.seek(0)
            lines = file.read().split()
        if len(lines) < 2:
            raise OSError("once")
        return float(lines[0]) - float(lines[1])

    graph = hr.Graph("again")
    graph.add(hr.task(draw, retries=1), str(tmp_path / "mark"), name="difference")
    assert cluster.submit(graph).results(WAIT) == {"difference": 0.0}


def test_generator_tasks_draw_distinct_numbers_which_repeat(cluster: hr.Cluster) -> None:
    graph = hr.Graph("yields")
    for _ in range(6):
        node = graph.add(steps, outputs=3)
        for index in range(3):
            graph.add(lambda field: float(field.sum()), node[index])
    first, second = (cluster.submit(graph).results(WAIT) for _ in range(2))
    assert len(set(first.values())) == 18
    assert first == second
