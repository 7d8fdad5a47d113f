"""What a client that connected to a running cluster reads of its log: what it needs, however long the log is."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

import headrace as hr
from headrace.client.settings import SETTINGS
from tests.waiting import eventually, wait_for


def one() -> int:
    return 1


def _graph(name: str = "one") -> hr.Graph:
    graph = hr.Graph(name)
    graph.add(one)
    return graph


def _consumers(cluster: hr.Cluster) -> int:
    async def count() -> int:
        answer = msgspec.json.decode(await cluster._connection.bus._outbox.call("CONSUMER.NAMES.LOG"))  # type: ignore[attr-defined]
        return int(answer["total"])

    return int(cluster._connection.call(count()))


@pytest.fixture(scope="module")
def cluster() -> hr.Cluster:
    with hr.Cluster.local(hosts=1, runners=1) as found:
        yield found


@pytest.fixture
def client(cluster: hr.Cluster) -> hr.Cluster:
    with hr.Cluster.connect(cluster.url, token=cluster.token) as found:
        yield found


def test_a_client_reads_of_the_log_only_what_came_since_it_submitted(cluster: hr.Cluster, client: hr.Cluster) -> None:
    for job in [cluster.submit(_graph()) for _ in range(100)]:
        job.wait(60)
    reading = client._connection.bus.reading
    before = reading.entries
    assert client.submit(_graph()).results(60) == {"one-0": 1}
    assert reading.entries - before <= 4
    assert reading.passed_over == 0


def test_many_jobs_of_a_client_share_a_feed(cluster: hr.Cluster, client: hr.Cluster, tmp_path: Path) -> None:
    before = _consumers(cluster)
    graph = hr.Graph("waits")
    graph.add(wait_for, str(tmp_path / "go"), name="path")
    jobs = [client.submit(graph) for _ in range(60)]
    (tmp_path / "go").touch()
    assert [job.results(60) for job in jobs] == [{"path": str(tmp_path / "go")}] * 60
    assert _consumers(cluster) - before <= SETTINGS.feeds_of_jobs + 1
    assert client._connection.feeds.open == {}, "nothing is kept of jobs that are over"


@pytest.mark.parametrize("connected", [True, False])
def test_what_was_waited_for_is_known_at_once(cluster: hr.Cluster, client: hr.Cluster, connected: bool) -> None:
    asked = client if connected else cluster
    for number in range(5):
        job = asked.submit(_graph(f"known-{number}"))
        assert job.id in {entry.job for entry in asked.jobs()}
        job.wait(60)
        assert {entry.job: entry.state for entry in asked.jobs()}[job.id] == "done"
        assert [record.name for record in asked.outputs(job=job.id)] == ["one-0"]
        assert job.id in {record.job for record in asked.outputs()}


def test_a_job_that_another_client_submitted_is_found_by_its_id_and_one_that_never_was_is_not(
    cluster: hr.Cluster, client: hr.Cluster
) -> None:
    job = cluster.submit(_graph())
    assert cluster.job(job._following.job).id == job.id, "also before its submission is acknowledged"
    job.wait(60)
    assert client.job(job.id).results(60) == {"one-0": 1}
    with pytest.raises(hr.NoSuchJob, match="never had one"):
        client.job("neverwas")


def test_a_job_is_found_by_whoever_is_told_its_id(cluster: hr.Cluster, client: hr.Cluster) -> None:
    with hr.Cluster.connect(cluster.url, token=cluster.token) as another:
        for _ in range(20):
            assert another.job(client.submit(_graph()).id).results(60) == {"one-0": 1}


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_client_that_leaves_at_once_has_submitted_its_job(cluster: hr.Cluster, size: int) -> None:
    """Also one whose graph is too large for a message."""
    graph = hr.Graph("left")
    graph.add(len, os.urandom(size), name="size")
    with hr.Cluster.connect(cluster.url, token=cluster.token) as leaving:
        job = leaving.submit(graph)
    assert cluster.job(job.id).results(60) == {"size": size}


def test_outputs_that_another_client_released_after_this_one_asked_for_the_job(cluster: hr.Cluster, client: hr.Cluster) -> None:
    graph = hr.Graph("large")
    graph.add(bytes, 1_000_000, name="large")
    job = cluster.submit(graph)
    job.wait(60)
    earlier = client.job(job.id)
    job.results(60)
    eventually(lambda: _is_lost(earlier))  # asked in a way that keeps nothing, should the host have it still
    with pytest.raises(hr.OutputsLost, match="a client fetched or released them"):
        earlier.results(60)


def _is_lost(job: hr.Job) -> bool:
    try:
        job._connection.call(job._following.fetch([0]))
    except hr.OutputsLost:
        return True
    return False
