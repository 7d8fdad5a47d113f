"""`hr.empty` on a real cluster: one array's memory for one result, whatever becomes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

import headrace as hr
from tests.waiting import eventually

WAIT = 60.0
MiB = 1 << 20
CAPACITY = 64 * MiB
N = MiB
"""Values of a field."""
SLAB = 8 * N + 4096
"""Bytes of the block that a field made in place takes."""

_kept: list[np.ndarray] = []


def filled(value: float) -> np.ndarray:
    field = hr.empty(N)
    field[:] = value
    return field


def steps(n: int) -> Iterator[np.ndarray]:
    for step in range(n):
        yield filled(step)


def put_away(value: float) -> float:
    _kept.append(filled(value))
    return float(_kept[-1][-1])


def look_again() -> list[float]:
    found = [float(field.max()) for field in _kept]
    _kept.clear()
    return found


def die(_: Any) -> None:
    held = [filled(k) for k in range(3)]
    os.kill(os.getpid(), signal.SIGKILL)
    del held


def first_and_last(field: np.ndarray) -> tuple[float, float, bool]:
    return float(field[0]), float(field[-1]), field.flags.writeable


def total(field: np.ndarray) -> float:
    return float(field.sum())


@pytest.fixture
def cluster() -> Iterator[hr.Cluster]:
    """A cluster of one host: which of two a task runs on is open, since a busy machine may start the second one first."""
    with hr.Cluster.local(hosts=1, capacity=CAPACITY) as cluster:
        yield cluster


def store(cluster: hr.Cluster, host: int = 0) -> dict[str, int]:
    """The books of a host's store, in bytes."""
    books: dict[str, int] = status(cluster, host)["store"]
    return books


def status(cluster: hr.Cluster, host: int = 0) -> dict[str, Any]:
    request = cluster._connection.bus.request(f"headrace.service.headrace-worker.status-{cluster.hosts[host]}")
    found: dict[str, Any] = msgspec.json.decode(cluster._connection.call(request))
    return found


def test_a_result_takes_its_array_and_nothing_else_however_many_read_it(cluster):
    graph = hr.Graph("one")
    field = graph.add(filled, 7)
    graph.output([graph.add(first_and_last, field, name=f"reader-{k}") for k in range(4)])
    assert set(cluster.submit(graph).results(WAIT).values()) == {(7.0, 7.0, False)}
    assert store(cluster)["high_water"] == SLAB
    eventually(lambda: store(cluster)["used"] == 0)


def test_a_client_gets_what_was_made_in_place(cluster):
    graph = hr.Graph("fetched")
    graph.output(graph.add(filled, 7, name="field"), graph.add(np.full, N, 8.0, name="copied"))
    results = cluster.submit(graph).results(WAIT)
    assert (results["field"].shape, results["field"].min(), results["field"].max()) == ((N,), 7, 7)
    assert (results["copied"] == 8).all()


@pytest.mark.parametrize("make", [filled, steps])
def test_ten_times_the_capacity_passes_through_it(cluster, make):
    n = 10 * CAPACITY // SLAB
    graph = hr.Graph("stream")
    fields = graph.add(steps, n, outputs=n) if make is steps else [graph.add(filled, step) for step in range(n)]
    graph.output([graph.add(total, field, name=f"total-{step}") for step, field in enumerate(fields)])
    assert cluster.submit(graph).results(WAIT) == {f"total-{step}": float(step) * N for step in range(n)}
    assert store(cluster)["high_water"] <= CAPACITY
    eventually(lambda: store(cluster)["used"] == 0)


def test_more_live_fields_than_the_capacity_are_copied_and_spilled_as_others(cluster):
    n = 2 * CAPACITY // SLAB
    graph = hr.Graph("live")
    fields = [graph.add(filled, k) for k in range(n)]
    highest = graph.add(max, [graph.add(total, field) for field in fields])
    graph.output([graph.add(lambda field, _: total(field), field, highest, name=f"again-{k}") for k, field in enumerate(fields)])
    assert cluster.submit(graph).results(WAIT) == {f"again-{k}": float(k) * N for k in range(n)}
    assert store(cluster)["high_water"] <= CAPACITY


def test_a_runner_that_is_killed_leaves_nothing_in_the_store(cluster):
    graph = hr.Graph("killed")
    graph.output(graph.add(die, graph.add(filled, 1), name="die"))
    with pytest.raises(hr.TaskFailed, match="signal 9"):
        cluster.submit(graph).results(WAIT)
    assert store(cluster)["high_water"] >= 4 * SLAB, status(cluster)
    eventually(lambda: store(cluster)["used"] == 0)


def test_an_array_that_outlives_its_job_is_nobody_elses_until_it_is_gone(cluster):
    graph = hr.Graph("outlives")
    graph.output(graph.add(put_away, 5, name="kept"))
    assert cluster.submit(graph).results(WAIT) == {"kept": 5}
    others = hr.Graph("others")
    others.output([others.add(total, others.add(filled, k), name=f"total-{k}") for k in range(20)])
    assert cluster.submit(others).results(WAIT) == {f"total-{k}": float(k) * N for k in range(20)}
    eventually(lambda: store(cluster)["used"] == SLAB)
    again = hr.Graph("again")
    again.output(again.add(look_again, name="seen"))
    assert cluster.submit(again).results(WAIT) == {"seen": [5.0]}
    eventually(lambda: store(cluster)["used"] == 0)


def test_another_host_is_sent_what_was_made_in_place():
    graph = hr.Graph("sent")
    fields = [graph.add(filled, k) for k in range(4)]
    graph.output([graph.add(lambda *given: sum(map(total, given)), *fields, name=f"sum-{k}") for k in range(4)])
    with hr.Cluster.local(hosts=2, runners=1, capacity=CAPACITY) as cluster:
        assert cluster.submit(graph).results(WAIT) == {f"sum-{k}": 6.0 * N for k in range(4)}
        for host in range(2):
            eventually(lambda host=host: store(cluster, host)["used"] == 0)


def test_a_field_larger_than_the_store_is_refused_as_any_result_is():
    graph = hr.Graph("large")
    graph.output(graph.add(filled, 1, name="field"))
    told = r"a result of 8,388,\d{3} bytes is larger than the store of 1,048,576 bytes"
    with hr.Cluster.local(hosts=1, capacity=MiB) as cluster:
        with pytest.raises(hr.TaskFailed, match=told) as caught:
            cluster.submit(graph).results(WAIT)
        assert isinstance(caught.value.__cause__, MemoryError)
