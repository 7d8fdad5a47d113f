"""More data than memory: purges keep a stream inside its store, and what somebody still looks at stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

import headrace as hr

WAIT = 60.0
MiB = 1 << 20
CAPACITY = 16 * MiB
FIELD = 1 * MiB
"""Bytes of one field: a job streams ten times the capacity."""

_kept: list[np.ndarray] = []
"""What tasks of a runner keep beyond their end."""


def fields(n: int) -> Iterator[np.ndarray]:
    for k in range(n):
        yield np.full(FIELD // 8, float(k))


def field(k: int) -> np.ndarray:
    return np.full(FIELD // 8, float(k))


def total(array: np.ndarray) -> float:
    return float(array.sum())


def less(array: np.ndarray, other: float) -> float:
    return total(array) - other


def keep(array: np.ndarray) -> float:
    _kept.append(array)
    return float(array[0])


def look_again(_: list[float]) -> list[tuple[float, float, bool]]:
    return [(float(a.min()), float(a.max()), a.flags.writeable) for a in _kept]


def high_water(cluster: hr.Cluster) -> dict[str, int]:
    """The most that each host's store ever held, in bytes."""
    found = {}
    for host in cluster.hosts:
        answer = cluster._connection.call(cluster._connection.bus.request(f"headrace.service.headrace-worker.status-{host}"))
        found[host] = msgspec.json.decode(answer)["store"]["high_water"]
    return found


def test_a_generator_of_ten_times_the_capacity_stays_within_it() -> None:
    n = 10 * CAPACITY // FIELD
    graph = hr.Graph("stream")
    steps = graph.add(fields, n, outputs=n)
    graph.output(graph.add(sum, [graph.add(total, step) for step in steps], name="sum"))
    with hr.Cluster.local(hosts=1, runners=1, capacity=CAPACITY) as cluster:
        results = cluster.submit(graph).results(WAIT)
        peaks = high_water(cluster)
    assert results["sum"] == sum(range(n)) * (FIELD // 8)
    assert all(0 < peak <= CAPACITY for peak in peaks.values())


def test_many_sources_on_two_hosts_stay_within_their_stores() -> None:
    n = 2 * 10 * CAPACITY // FIELD
    graph = hr.Graph("sources")
    totals = [graph.add(total, graph.add(field, k)) for k in range(n)]
    pairs = [graph.add(total, graph.add(np.add, graph.add(field, k), graph.add(field, k + 1))) for k in range(0, 40, 2)]
    graph.output(graph.add(sum, totals, name="sum"), graph.add(sum, pairs, name="pairs"))
    with hr.Cluster.local(hosts=2, runners=2, capacity=CAPACITY) as cluster:
        results = cluster.submit(graph).results(WAIT)
        peaks = high_water(cluster)
    assert results == {"sum": sum(range(n)) * (FIELD // 8), "pairs": sum(range(40)) * (FIELD // 8)}
    assert all(peak <= CAPACITY for peak in peaks.values())


def test_a_view_that_a_task_keeps_is_unchanged_after_purge_and_reuse() -> None:
    graph = hr.Graph("kept")
    first = [graph.add(keep, graph.add(np.full, FIELD // 8, float(k))) for k in range(4)]
    filler = [graph.add(total, graph.add(field, 100 + k)) for k in range(5 * CAPACITY // FIELD)]
    graph.output(graph.add(look_again, [*first, *filler], name="seen"))
    with hr.Cluster.local(hosts=1, runners=1, capacity=CAPACITY) as cluster:
        seen = cluster.submit(graph).results(WAIT)["seen"]
    assert sorted(seen) == [(float(k), float(k), False) for k in range(4)]


def test_live_data_of_five_times_the_capacity_goes_to_disk_and_comes_back() -> None:
    n = 5 * CAPACITY // FIELD
    graph = hr.Graph("spilled")
    made = [graph.add(field, k) for k in range(n)]
    mean = graph.add(max, [graph.add(total, node) for node in made])
    graph.output([graph.add(less, node, mean, name=f"rest-{k}") for k, node in enumerate(made)])
    with hr.Cluster.local(hosts=2, runners=1, capacity=CAPACITY) as cluster:
        results = cluster.submit(graph).results(WAIT)
        peaks = high_water(cluster)
    assert results == {f"rest-{k}": float(k) * (FIELD // 8) - float(n - 1) * (FIELD // 8) for k in range(n)}
    assert all(peak <= CAPACITY for peak in peaks.values())


def test_more_live_data_than_the_capacity_is_held_above_it_without_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SPILL_DIR", "none")
    n = 2 * CAPACITY // FIELD
    graph = hr.Graph("above")
    graph.output(graph.add(len, [graph.add(field, k) for k in range(n)], name="n"))
    with hr.Cluster.local(hosts=1, runners=1, capacity=CAPACITY) as cluster:
        assert cluster.submit(graph).results(WAIT) == {"n": n}


def test_more_live_data_than_the_address_space_fails_the_job_and_the_cluster_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SPILL_DIR", "none")
    graph = hr.Graph("too-much")
    graph.output(graph.add(len, [graph.add(field, k) for k in range(5 * CAPACITY // FIELD)], name="n"))
    with hr.Cluster.local(hosts=1, runners=1, capacity=CAPACITY) as cluster:
        told = r"failed \(too large\): a result of 1,048,\d{3} bytes does not fit into the store.*: HEADRACE_SPILL_DIR is 'none'"
        with pytest.raises(hr.TaskFailed, match=told) as caught:
            cluster.submit(graph).results(WAIT)
        assert isinstance(caught.value.__cause__, MemoryError)
        assert cluster.compute(hr.delayed(total)(np.ones(3)), timeout=WAIT) == 3.0


def test_a_result_that_a_caller_keeps_is_unchanged_by_later_jobs() -> None:
    with hr.Cluster.local(hosts=1, runners=1, capacity=CAPACITY) as cluster:
        graph = hr.Graph("first")
        graph.add(field, 7, name="field")
        kept = cluster.submit(graph).results(WAIT)["field"]
        for k in range(3):
            later = hr.Graph("later")
            later.output([later.add(field, 50 + k + j) for j in range(8)])
            cluster.submit(later).results(WAIT)
    assert (kept == 7.0).all()
