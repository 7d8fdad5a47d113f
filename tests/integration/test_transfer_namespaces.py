"""Two hosts with nothing in common but a network: data goes from one to the other directly, and hardly a byte of it through NATS."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.network import Network, network
from benchmarks.spread import MONITOR_PORT, Spread, cluster
from tests.waiting import eventually

WAIT = 60.0
CAPACITY = 256 << 20
CLIENT = """
import json, sys
import numpy as np
import headrace as hr

def load(k):
    return np.full(500_000, float(k))

def mix(*fields):
    return float(sum(field.sum() for field in fields))

with hr.Cluster.connect(sys.argv[1]) as cluster:
    graph = hr.Graph("crossing")
    fields = [graph.add(load, k) for k in range(24)]
    mixed = [graph.add(mix, *[fields[j] for j in row], name=f"mix-{k}") for k, row in enumerate(json.loads(sys.argv[3]))]
    graph.output(mixed, graph.add(np.add, fields[0], fields[23], name="field"))
    results = cluster.submit(graph).results(60)
    field = results.pop("field")
    with open(sys.argv[2], "w") as file:
        json.dump({"mixed": results, "field": [float(field.min()), float(field.max())], "hosts": cluster.hosts}, file)
"""


@contextlib.contextmanager
def hosts_apart(count: int) -> Iterator[tuple[Network, Spread]]:
    """A cluster with so many hosts that have joined; skips where there can be no network namespaces."""
    with contextlib.ExitStack() as stack:
        try:
            net = stack.enter_context(network(count))
        except OSError as error:
            pytest.skip(str(error))
        spread = stack.enter_context(cluster(net, CAPACITY))
        look = f"import headrace as hr; print(len(hr.Cluster.connect({spread.url!r}).hosts))"
        command = net.inside(net.hub, [sys.executable, "-c", look])
        eventually(lambda: subprocess.run(command, capture_output=True, text=True).stdout.strip() == str(count), told=spread.log.read_text)
        yield net, spread


def run_client(net: Network, spread: Spread, script: Path, code: str, *arguments: str) -> Any:
    """What a client in the hub writes, as JSON, to the file that it is told of, after the address of the server."""
    answer = script.with_suffix(".json")
    script.write_text(code)
    command = net.inside(net.hub, [sys.executable, str(script), spread.url, str(answer), *arguments])
    client = subprocess.run(command, capture_output=True, text=True, timeout=WAIT)
    assert client.returncode == 0, client.stderr + spread.log.read_text()
    return json.loads(answer.read_text())


def nats_bytes(net: Network) -> int:
    """Bytes that the NATS server has taken in and given out so far."""
    fetch = f"import urllib.request; print(urllib.request.urlopen('http://{net.address(net.hub)}:{MONITOR_PORT}/varz').read().decode())"
    seen = json.loads(subprocess.check_output(net.inside(net.hub, [sys.executable, "-c", fetch])))
    return int(seen["in_bytes"]) + int(seen["out_bytes"])


@pytest.mark.netns
def test_data_goes_from_host_to_host_and_not_through_nats(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [draw.sample(range(24), 3) for _ in range(24)]
    with hosts_apart(2) as (net, spread):
        before = nats_bytes(net), [net.sent_bytes(host) for host in net.hosts]
        found = run_client(net, spread, tmp_path / "client.py", CLIENT, json.dumps(rows))
        through_nats = nats_bytes(net) - before[0]
        sent = [net.sent_bytes(host) - was for host, was in zip(net.hosts, before[1], strict=True)]
        assert not any(any(folder.iterdir()) for folder in spread.shm)
    assert found["mixed"] == {f"mix-{k}": 500_000.0 * sum(row) for k, row in enumerate(rows)}
    assert found["field"] == [23.0, 23.0]
    assert found["hosts"] == ["h0", "h1"]
    moved = sum(sent)
    assert moved > 10 * 4_000_000, "the hosts were to exchange fields"
    assert through_nats < moved / 100, f"{through_nats} bytes through NATS, {moved} between the hosts"


BROADCAST_BYTES = 64_000_000
BROADCAST = """
import json, os, sys, zlib
import numpy as np
import headrace as hr

def make(nbytes):
    return np.random.default_rng(1).integers(0, 256, nbytes, dtype=np.uint8)

def seeds():
    yield from range(5)

def read(array, *seeds):
    return [zlib.crc32(array), os.stat("/proc/self/ns/net").st_ino]

with hr.Cluster.connect(sys.argv[1]) as cluster:
    graph = hr.Graph("broadcast")
    array = graph.add(make, int(sys.argv[3]))
    for k in range(int(sys.argv[4])):
        graph.add(read, array, *graph.add(seeds, outputs=5), name=f"reader-{k}")
    results = cluster.submit(graph).results(60)
    with open(sys.argv[2], "w") as file:
        json.dump(list(results.values()), file)
"""


@pytest.mark.netns
def test_what_several_hosts_take_leaves_each_host_about_once(tmp_path: Path) -> None:
    hosts = 4
    with hosts_apart(hosts) as (net, spread):
        before = [net.sent_bytes(host) for host in net.hosts]
        found = run_client(net, spread, tmp_path / "client.py", BROADCAST, str(BROADCAST_BYTES), str(hosts))
        sent = [net.sent_bytes(host) - was for host, was in zip(net.hosts, before, strict=True)]
    right = zlib.crc32(np.random.default_rng(1).integers(0, 256, BROADCAST_BYTES, dtype=np.uint8))
    assert [checksum for checksum, _ in found] == [right] * hosts
    assert len({place for _, place in found}) == hosts, "a host read nothing"
    assert sum(sent) > (hosts - 1) * BROADCAST_BYTES
    assert max(sent) < 1.2 * BROADCAST_BYTES, f"sent, by host: {sent}"
