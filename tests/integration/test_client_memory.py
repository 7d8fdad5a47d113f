"""A client that runs many jobs keeps none of those that its user dropped, nor their values."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

import headrace as hr
from tests.waiting import eventually

JOBS = 60
"""More than have a feed of their own at a time."""


def small(number: int) -> int:
    return number


def large(number: int) -> np.ndarray:
    return np.full(20_000, number)


def fails(number: int) -> None:
    raise ValueError(number)


@pytest.fixture(scope="module")
def local() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=1, runners=1, progress=False) as cluster:
        yield cluster


@pytest.fixture(params=["local", "connected"])
def client(request: pytest.FixtureRequest, local: hr.Cluster) -> Iterator[hr.Cluster]:
    if request.param == "local":
        yield local
        return
    with hr.Cluster.connect(local.url, token=local.token, progress=False) as connected:
        yield connected


def submitted(client: hr.Cluster, function: object, number: int) -> hr.Job:
    graph = hr.Graph("one")
    graph.add(function, number, name="it")
    return client.submit(graph)


def run(client: hr.Cluster, function: object) -> list[weakref.ref[object]]:
    """Run jobs at the same time, and let go of everything. Returns what tells whether the client does, too."""
    jobs = [submitted(client, function, number) for number in range(JOBS)]
    left: list[weakref.ref[object]] = [weakref.ref(job._following) for job in jobs]
    for job in jobs:
        if function is fails:
            assert job.wait(60, check=False) == "failed"
        else:
            value = job.result("it", 60)
            left += [weakref.ref(value)] if isinstance(value, np.ndarray) else []
            job.results(60)
    return left


@pytest.mark.parametrize("function", [small, large, fails])
def test_jobs_and_values_that_the_user_dropped_are_let_go_of(client: hr.Cluster, function: object) -> None:
    left = run(client, function)

    def are_gone() -> bool:
        gc.collect()
        return not any(ref() is not None for ref in left)

    eventually(are_gone)
    assert not client._connection.feeds.open
    assert not client._connection.submissions._open


def test_jobs_that_nobody_waits_for_are_let_go_of_when_they_end(client: hr.Cluster) -> None:
    left = [weakref.ref(submitted(client, small, number)._following) for number in range(JOBS)]

    def are_gone() -> bool:
        gc.collect()
        return not any(ref() is not None for ref in left)

    eventually(are_gone)
