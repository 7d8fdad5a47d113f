"""Moves a large array from one host to another, and to eight: Headrace beside plain sockets, between network namespaces.

How long bytes travel is read off the cable of the host that sends, for both alike, from the first megabytes to the last byte. A broadcast
takes from the array's making to the start of the last task that reads it; so does the one transfer that it is compared with.

    python -m benchmarks.transfer send ADDRESS PORT MB | receive ADDRESS PORT MB | watch DEVICE MB | job URL MB RECEIVERS

are its parts, each run in a namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

import headrace as hr
from benchmarks.network import Network, network
from benchmarks.process import PROJECT
from benchmarks.report import Figure
from benchmarks.spread import cluster

MEGABYTES = 1000
RECEIVERS = 8
TURNS = 3
"""Of sockets and Headrace, one after the other, where nothing but the machine limits them; medians count."""
RATE = "1gbit"
TIMEOUT = 180.0
MB = 1_000_000
SEEDS = 5
"""Small datasets made where each reader is to run: it is planned where most of its inputs are."""
POLL_SECONDS = 0.005
"""Between two looks at a cable, which takes a hundredth of that."""
PORT = 4999
AHEAD = 4 * MB
"""What may have gone over a cable before the array: the small one that goes ahead, and messages."""
Array = npt.NDArray[np.float64]


def figures(megabytes: int = MEGABYTES) -> list[Figure]:
    """All of this module's figures; those that cannot be had here say why."""
    try:
        return [*host_to_host(megabytes, ""), *broadcast(megabytes)]
    except (OSError, subprocess.SubprocessError) as error:
        return [Figure("transfer", "headrace", None, "MB/s", str(error))]


def host_to_host(megabytes: int, rate: str) -> list[Figure]:
    """Headrace and plain sockets on the same cable."""
    note = f"{megabytes} MB, {'one cable of ' + rate if rate else 'no rate limit'}"
    with network(2, rate) as net:
        pairs = [(by_sockets(net, megabytes), by_headrace(net, megabytes)[0]) for _ in range(TURNS)]
    plain, ours = (median(speeds) for speeds in zip(*pairs, strict=True))
    return [
        Figure("transfer, host to host", "plain sockets", plain, "MB/s", note),
        Figure("transfer, host to host", "headrace", ours, "MB/s", note),
        Figure("transfer, share of plain sockets", "headrace", 100 * ours / plain, "%", note),
    ]


def broadcast(megabytes: int, receivers: int = RECEIVERS) -> list[Figure]:
    """One array to several hosts, against one transfer of it, where every host has a slow cable."""
    with network(2, RATE) as net:
        _, one = by_headrace(net, megabytes)
    with network(1 + receivers, RATE) as net:
        _, many = by_headrace(net, megabytes)
    note = f"{megabytes} MB, cables of {RATE}"
    return [
        Figure("transfer to 1 host", "headrace", one, "s", note),
        Figure(f"transfer to {receivers} hosts", "headrace", many, "s", note),
        Figure(f"{receivers} hosts against one", "headrace", many / one, "x", note),
    ]


# ---------------------------------------------------------------- plain sockets


def by_sockets(net: Network, megabytes: int) -> float:
    """MB/s between two processes that do nothing else."""
    sender, receiver = net.hosts
    to = [net.address(receiver), str(PORT), str(megabytes)]
    with watched(net, megabytes) as watcher:
        receiving = subprocess.Popen(net.inside(receiver, _part("receive", *to)), cwd=PROJECT, stdout=subprocess.PIPE)
        try:
            assert receiving.stdout is not None
            receiving.stdout.readline()  # it listens
            subprocess.run(net.inside(sender, _part("send", *to)), cwd=PROJECT, check=True, timeout=TIMEOUT)
        finally:
            receiving.kill()
            receiving.wait()
        return _speed(watcher, megabytes)


def send(address: str, port: int, megabytes: int) -> None:
    """Send from memory, and wait until the other side has it."""
    data = np.ones(megabytes * MB, dtype=np.uint8)
    with socket.create_connection((address, port)) as sock:
        sock.sendall(data)  # type: ignore[arg-type]
        sock.recv(1)


def receive(address: str, port: int, megabytes: int) -> None:
    """Receive into memory."""
    with socket.create_server((address, port)) as server:
        print("ready", flush=True)
        sock, _ = server.accept()
        view, got = memoryview(bytearray(megabytes * MB)), 0
        while got < len(view):
            got += sock.recv_into(view[got:])
        sock.sendall(b"!")
        sock.recv(1)


# ---------------------------------------------------------------- Headrace


def by_headrace(net: Network, megabytes: int) -> tuple[float, float]:
    """MB/s on the sender's cable (meaningless with several receivers), and seconds until the last reader has it."""
    with cluster(net, 2 * megabytes * MB) as spread, watched(net, megabytes) as watcher:
        job = net.inside(net.hub, _part("job", spread.url, str(megabytes), str(len(net.hosts) - 1)))
        ran = subprocess.run(job, cwd=PROJECT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if ran.returncode:
            raise OSError(f"the job failed: {ran.stderr[-3000:]}")
        return _speed(watcher, megabytes), float(json.loads(ran.stdout)["seconds"])


def make(megabytes: int) -> Array:
    """The array to move. Its first values say when it was ready, and where."""
    array = np.ones(megabytes * MB // 8)
    array[1] = namespace()
    array[0] = time.time()
    return array


def when(array: Array) -> float:
    """Another reader, which may be anywhere: an array with only one would be fused with it."""
    return float(array[0])


def seeds() -> Iterator[int]:
    """Some small datasets of one host."""
    yield from range(SEEDS)


def arrived(array: Array, *local: int) -> tuple[float, float]:
    """Seconds since the array was made, and the namespace that it is in; from another one than that which it comes from."""
    seconds = time.time() - array[0]
    assert array[1] != namespace(), "the reader was planned where the array is"
    assert array[-1] == 1.0
    assert len(local) == SEEDS
    return float(seconds), namespace()


def namespace() -> float:
    """The number of this process's network namespace."""
    return float(os.stat("/proc/self/ns/net").st_ino)


def job(url: str, megabytes: int, receivers: int) -> dict[str, Any]:
    """Run the transfer on a cluster; a small one goes ahead, for the links to be there. Raises RuntimeError if a host was left out."""
    with hr.Cluster.connect(url, progress=False) as cluster:
        deadline = time.monotonic() + TIMEOUT
        while len(cluster.hosts) < receivers + 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        _move(cluster, 1, receivers)
        found = _move(cluster, megabytes, receivers)
    if len({place for _, place in found}) < receivers:
        raise RuntimeError(f"only {len({place for _, place in found})} of {receivers} hosts read the array")
    return {"seconds": max(seconds for seconds, _ in found)}


def _move(cluster: hr.Cluster, megabytes: int, receivers: int) -> list[tuple[float, float]]:
    graph = hr.Graph("transfer")
    array = graph.add(make, megabytes)
    local = [graph.add(seeds, outputs=SEEDS) for _ in range(receivers)]
    for index, there in enumerate(local):
        graph.add(arrived, array, *[there[k] for k in range(SEEDS)], name=f"reader-{index}")
    graph.add(when, array, name="somewhere")
    results = cluster.submit(graph).results(TIMEOUT)
    return [value for name, value in results.items() if name != "somewhere"]


# ---------------------------------------------------------------- the cable


@contextlib.contextmanager
def watched(net: Network, megabytes: int) -> Iterator[subprocess.Popen[str]]:
    """Somebody who watches every host's cable, in the hub: whichever host sends."""
    command = net.inside(net.hub, _part("watch", str(len(net.hosts)), str(megabytes)))
    watcher = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert watcher.stdout is not None
        watcher.stdout.readline()  # it watches
        yield watcher
    finally:
        watcher.kill()
        watcher.wait()


def watch(hosts: int, megabytes: int) -> float:
    """Seconds in which the first host to send that much sent it, not counting the first megabytes, which came before."""
    ports = [f"port{index}" for index in range(hosts)]
    before, began = received_bytes(), dict[str, float]()
    print("ready", flush=True)
    while True:
        now = received_bytes()
        for port in ports:
            sent = now[port] - before[port]
            if sent >= AHEAD:
                began.setdefault(port, time.monotonic())
            if sent >= megabytes * MB:
                return time.monotonic() - began[port]
        time.sleep(POLL_SECONDS)


def received_bytes() -> dict[str, int]:
    """Per device of this network namespace, what has come through it."""
    with open("/proc/net/dev") as file:
        lines = (line.split(":") for line in file if ":" in line)
        return {device.strip(): int(counts.split()[0]) for device, counts in lines}


def _speed(watcher: subprocess.Popen[str], megabytes: int) -> float:
    assert watcher.stdout is not None
    return megabytes / float(watcher.stdout.readline())


def _part(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.transfer", name, *arguments]


def main(name: str, *arguments: str) -> None:
    """Run one part."""
    numbers = [int(argument) if argument.isdigit() else argument for argument in arguments]
    parts: dict[str, Any] = {"send": send, "receive": receive, "watch": watch, "job": job}
    result = parts[name](*numbers)
    if result is not None:
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
