"""The catalogue of outputs: announced once each, found by metadata, during a job and after it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings
from headrace.values import encode
from headrace_schemas.streams import LOG
from tests.waiting import eventually, wait_for

WAIT = 30.0


def wind(step: int) -> tuple[np.ndarray, float]:
    return np.full((40, 50), float(step)), 0.5


def steps(n: int) -> Iterator[hr.Output]:
    for step in range(n):
        yield hr.Output(np.full((3, step), step, dtype="i2"), step=step)


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=2, runners=1) as cluster:
        yield cluster


def test_records_say_what_was_made(cluster: hr.Cluster) -> None:
    graph = hr.Graph("records")
    graph.add(wind, 6, outputs=[{"param": "u"}, {"param": "scale"}], metadata={"step": 6, "param": "wind"}, name="wind")
    graph.add(steps, 3, outputs=[{"first": True}, {}, {}], metadata={"param": "t"}, name="t")
    job = cluster.submit(graph)
    job.wait(WAIT)  # not `results`, which tells the hosts that they may drop the values
    everything = job.outputs()
    assert [record.name for record in everything] == ["wind[0]", "wind[1]", "t[0]", "t[1]", "t[2]"]
    assert [record.metadata for record in job.outputs(step=6)] == [{"step": 6, "param": "u"}, {"step": 6, "param": "scale"}]
    assert [record.metadata for record in job.outputs({"first": True})] == [{"param": "t", "step": 0, "first": True}]
    assert [record.name for record in job.outputs(param="t", step=[0, 2])] == ["t[0]", "t[2]"]
    field, scale, *rest = everything
    assert (field.dtype, field.shape, field.checksum, field.job) == ("float64", (40, 50), "", job.id)
    assert field.host in cluster.hosts
    assert field.bytes > 16_000
    assert (scale.dtype, scale.shape, scale.host) == ("", None, "")
    assert scale.checksum == f"sha256:{hashlib.sha256(encode(0.5).tobytes()).hexdigest()}"
    assert [(record.dtype, record.shape) for record in rest] == [("int16", (3, n)) for n in range(3)]
    assert {record.location for record in everything} == {""}


def test_outputs_are_listed_while_the_job_runs(cluster: hr.Cluster, tmp_path: object) -> None:
    path = f"{tmp_path}/go"
    graph = hr.Graph("during")
    graph.add(int, 5, name="early", metadata={"when": "early"})
    graph.add(wait_for, path, name="late", metadata={"when": "late"})
    job = cluster.submit(graph)
    assert job.result("early", WAIT) == 5
    eventually(job.outputs)
    assert [record.name for record in job.outputs()] == ["early"]
    open(path, "w").close()
    job.results(WAIT)
    assert [record.name for record in job.outputs(when=["early", "late"])] == ["early", "late"]


def test_outputs_of_all_jobs_are_found_also_when_the_log_has_forgotten_them(cluster: hr.Cluster) -> None:
    jobs = []
    for number in range(2):
        graph = hr.Graph()
        graph.add(int, number, name="n / ü", metadata={"test": "aged", "number": number})
        jobs.append(cluster.submit(graph))
        jobs[-1].results(WAIT)
        assert len(jobs[-1].outputs()) == 1
    asyncio.run(forget_log(BusSettings(url=cluster.url, token=cluster.token)))
    with pytest.raises(hr.NoSuchJob):
        cluster.job(jobs[0].id)
    assert [record.job for record in cluster.outputs(test="aged")] == [job.id for job in jobs]
    (record,) = cluster.outputs(job=jobs[1].id)
    assert (record.name, record.metadata) == ("n / ü", {"test": "aged", "number": 1})
    assert cluster.outputs(job=jobs[1].id, number=0) == []


async def forget_log(settings: BusSettings) -> None:
    """What age does to the log."""
    async with await Bus.connect(settings, "test") as bus:
        await bus._purge(LOG.name, "headrace.>")
