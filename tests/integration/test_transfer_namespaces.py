"""Two hosts with nothing in common but a network: data goes from one to the other directly, and hardly a byte of it through NATS."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headrace.bus.server import server_binary
from tests.integration.namespaces import Network, network, shm_folder

WAIT = 60.0
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
def started(commands: list[tuple[list[str], dict[str, str]]], log: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes, ended by their ids afterwards."""
    processes: list[subprocess.Popen[bytes]] = []
    with open(log, "ab") as out:
        try:
            for command, env in commands:
                processes.append(subprocess.Popen(command, env={**os.environ, **env}, stdout=out, stderr=out))
            yield processes
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in reversed(processes):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
                process.wait()


def services(net: Network, url: str, folders: list[Path]) -> list[tuple[list[str], dict[str, str]]]:
    """Commands of the central services in the hub, and of a worker per host."""
    headrace = [sys.executable, "-m", "headrace.cli"]
    env = {"HEADRACE_URL": url, "HEADRACE_LOG_LEVEL": "INFO"}
    commands = [(net.inside(net.hub, [*headrace, name]), env) for name in ("controller", "scheduler", "publisher")]
    for index, host in enumerate(net.hosts):
        own = {
            "HEADRACE_HOST": f"h{index}",
            "HEADRACE_LISTEN": f"{net.address(host)}:0",
            "HEADRACE_SHM_DIR": str(folders[index]),
            "HEADRACE_CAPACITY": str(256 << 20),
        }
        commands.append((net.inside(host, [*headrace, "worker"]), env | own))
    return commands


def nats_bytes(net: Network, port: int) -> int:
    """Bytes that the NATS server has taken in and given out so far."""
    fetch = f"import urllib.request; print(urllib.request.urlopen('http://{net.address(net.hub)}:{port}/varz').read().decode())"
    seen = json.loads(subprocess.check_output(net.inside(net.hub, [sys.executable, "-c", fetch])))
    return int(seen["in_bytes"]) + int(seen["out_bytes"])


@pytest.mark.netns
def test_data_goes_from_host_to_host_and_not_through_nats(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [draw.sample(range(24), 3) for _ in range(24)]
    with network(2) as net, contextlib.ExitStack() as stack:
        folders = [shm_folder(str(index)) for index in range(2)]
        for folder in folders:
            stack.callback(shutil.rmtree, folder, True)
        url = f"nats://{net.address(net.hub)}:4222"
        server = [server_binary(), "-js", "-sd", str(tmp_path / "js"), "-a", net.address(net.hub), "-p", "4222", "-m", "8222"]
        script, answer, log = tmp_path / "client.py", tmp_path / "answer.json", tmp_path / "log"
        script.write_text(CLIENT)
        stack.enter_context(started([(net.inside(net.hub, server), {})], log))
        stack.enter_context(started(services(net, url, folders), log))
        _wait_for_hosts(net, url, 2, log)
        before = nats_bytes(net, 8222), [net.sent_bytes(host) for host in net.hosts]
        command = [sys.executable, str(script), url, str(answer), json.dumps(rows)]
        client = subprocess.run(net.inside(net.hub, command), capture_output=True, text=True, timeout=WAIT)
        assert client.returncode == 0, client.stderr + log.read_text()
        through_nats = nats_bytes(net, 8222) - before[0]
        sent = [net.sent_bytes(host) - was for host, was in zip(net.hosts, before[1], strict=True)]
        assert not any(any(folder.iterdir()) for folder in folders)
    found = json.loads(answer.read_text())
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
    with network(hosts) as net, contextlib.ExitStack() as stack:
        folders = [shm_folder(str(index)) for index in range(hosts)]
        for folder in folders:
            stack.callback(shutil.rmtree, folder, True)
        url = f"nats://{net.address(net.hub)}:4222"
        server = [server_binary(), "-js", "-sd", str(tmp_path / "js"), "-a", net.address(net.hub), "-p", "4222"]
        script, answer, log = tmp_path / "client.py", tmp_path / "answer.json", tmp_path / "log"
        script.write_text(BROADCAST)
        stack.enter_context(started([(net.inside(net.hub, server), {})], log))
        stack.enter_context(started(services(net, url, folders), log))
        _wait_for_hosts(net, url, hosts, log)
        before = [net.sent_bytes(host) for host in net.hosts]
        command = [sys.executable, str(script), url, str(answer), str(BROADCAST_BYTES), str(hosts)]
        client = subprocess.run(net.inside(net.hub, command), capture_output=True, text=True, timeout=WAIT)
        assert client.returncode == 0, client.stderr + log.read_text()
        sent = [net.sent_bytes(host) - was for host, was in zip(net.hosts, before, strict=True)]
    found = json.loads(answer.read_text())
    right = zlib.crc32(np.random.default_rng(1).integers(0, 256, BROADCAST_BYTES, dtype=np.uint8))
    assert [checksum for checksum, _ in found] == [right] * hosts
    assert len({place for _, place in found}) == hosts, "a host read nothing"
    assert sum(sent) > (hosts - 1) * BROADCAST_BYTES
    assert max(sent) < 1.2 * BROADCAST_BYTES, f"sent, by host: {sent}"


def _wait_for_hosts(net: Network, url: str, count: int, log: Path) -> None:
    look = f"import headrace as hr; print(len(hr.Cluster.connect({url!r}).hosts))"
    deadline = time.monotonic() + WAIT
    while True:
        seen = subprocess.run(net.inside(net.hub, [sys.executable, "-c", look]), capture_output=True, text=True)
        if seen.stdout.strip() == str(count):
            return
        assert time.monotonic() < deadline, seen.stderr + log.read_text()
