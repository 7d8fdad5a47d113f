"""Outputs without a sink: held until the client has them, spilled if the host needs room, given up if nobody comes."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings
from headrace.cli.replaying import read_log
from headrace.controller.replay import check
from headrace_schemas import Purge, Released
from tests.waiting import eventually

WAIT = 60.0
MiB = 1 << 20


def field(number: int) -> np.ndarray:
    return np.full(MiB // 8, float(number))


def test_outputs_larger_than_the_store_are_spilled_and_all_arrive() -> None:
    """Sixty outputs of 1 MiB in a store of 8: nobody fetches one before all are there."""
    with hr.Cluster.local(hosts=1, capacity=8 * MiB) as cluster:
        graph = hr.Graph("more than fits")
        for number in range(60):
            graph.add(field, number, name=f"field-{number}")
        job = cluster.submit(graph)
        assert job.wait(WAIT) == "done"
        assert asyncio.run(peak_of_store(cluster)) < 10 * MiB
        results = job.results(WAIT)
        assert len(results) == 60
        for number in range(60):
            assert (results[f"field-{number}"] == number).all()


async def peak_of_store(cluster: hr.Cluster) -> int:
    async with await Bus.connect(BusSettings(url=cluster.url, token=cluster.token), "test") as bus:
        status = json.loads(await bus.request(f"headrace.service.headrace-worker.status-{cluster.hosts[0]}"))
    return int(status["store"]["high_water"])


def test_outputs_that_nobody_fetches_are_given_up_and_the_log_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_OUTPUT_EXPIRY", "100ms")
    with hr.Cluster.local(hosts=2) as cluster:
        graph = hr.Graph("forgotten")
        graph.output(graph.add(field, 1, name="large"), graph.add(int, 5, name="small"))
        job = cluster.submit(graph)
        assert job.wait(WAIT) == "done"
        settings = BusSettings(url=cluster.url, token=cluster.token)
        eventually(lambda: any(isinstance(entry.message, Purge) for entry in asyncio.run(read_log(job.id, settings))))
        entries = asyncio.run(read_log(job.id, settings))
        (released,) = [entry for entry in entries if isinstance(entry.message, Released)]
        purge = next(entry for entry in entries if isinstance(entry.message, Purge))
        assert "HEADRACE_OUTPUT_EXPIRY" in released.message.reason
        assert released.seq <= purge.message.at < purge.seq
        assert check(entries) == []
        again = cluster.job(job.id)
        assert again.result("small", WAIT) == 5
        with pytest.raises(hr.OutputsLost, match=r"large.* are gone: no client fetched them within 0\.1 s"):
            again.result("large", WAIT)
        with pytest.raises(hr.OutputsLost):
            job.result("large", WAIT)


def test_outputs_that_a_client_fetched_are_released_and_another_client_is_told() -> None:
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph()
        graph.add(field, 1, name="large")
        job = cluster.submit(graph)
        job.results(WAIT)
        settings = BusSettings(url=cluster.url, token=cluster.token)
        eventually(lambda: any(isinstance(entry.message, Released) for entry in asyncio.run(read_log(job.id, settings))))
        with pytest.raises(hr.OutputsLost, match="a client fetched or released them"):
            cluster.job(job.id).results(WAIT)
