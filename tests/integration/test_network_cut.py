"""Hosts that cannot reach each other, though both reach NATS: the job goes on without the network, and both are back after it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.network import Network
from tests.integration.test_transfer_namespaces import WAIT, hosts_apart
from tests.waiting import eventually

CUT_SECONDS = 40.0
"""Longer than the job takes without the other host."""
CLIENT = """
import random, sys, time
import numpy as np
import headrace as hr

def make(k, *given):
    time.sleep(0.2)
    return np.full(20_000, k + sum(int(each[0]) for each in given))

with hr.Cluster.connect(sys.argv[1]) as cluster:
    rng, graph, row, values = random.Random(1), hr.Graph("cut"), [], []
    for layer in range(8):
        taken = [rng.sample(range(6), 2) if layer else [] for _ in range(6)]
        values = [k + sum(values[j] for j in taken[k]) for k in range(6)]
        row = [graph.add(make, k, *[row[j] for j in taken[k]]) for k in range(6)]
    graph.output(row)
    job = cluster.submit(graph)
    while job.status().tasks["done"] < 8:
        time.sleep(0.02)
    print("begun", flush=True)
    results = job.results(120)
    assert sorted(int(each[0]) for each in results.values()) == sorted(values), (results, values)
    print("ended", flush=True)
"""


@contextlib.contextmanager
def cut(net: Network) -> Iterator[None]:
    """No host reaches another one; all reach the hub."""

    def isolate(how: str) -> None:
        for index in range(len(net.hosts)):
            command = ["ip", "link", "set", net.port(index), "type", "bridge_slave", "isolated", how]
            subprocess.run(net.inside(net.hub, command), check=True, capture_output=True)

    isolate("on")
    try:
        yield
    finally:
        isolate("off")


@pytest.mark.netns
def test_a_job_goes_on_while_its_hosts_cannot_reach_each_other(tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    with hosts_apart(2) as (net, spread):
        command = net.inside(net.hub, [sys.executable, str(script), spread.url])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "begun\n"
            with cut(net):
                began = time.monotonic()
                assert client.stdout.readline() == "ended\n", spread.log.read_text()
                assert time.monotonic() - began < CUT_SECONDS
        count = f"import headrace as hr; print(len(hr.Cluster.connect({spread.url!r}).hosts))"
        look = net.inside(net.hub, [sys.executable, "-c", count])
        eventually(lambda: subprocess.run(look, capture_output=True, text=True).stdout == "2\n", WAIT, told=spread.log.read_text)
