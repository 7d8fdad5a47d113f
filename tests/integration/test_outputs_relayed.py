"""A client that reaches NATS but none of the hosts gets values through the publisher."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator

import numpy as np
import psutil
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings, EmbeddedServer, MemoryBus, ensure_data_key
from headrace.bus.frames import Record
from headrace.client import fetching
from headrace.client.connection import Connection
from headrace.link import Data, Frame, Identity, Link, Server, serve
from headrace.publisher.fetches import Fetches
from headrace.publisher.settings import FetchLimits
from headrace_schemas import HostEntry, decoder, encode
from headrace_schemas.fetching import FETCH_SUBJECT, HEADER, Fetch, Fetching
from headrace_schemas.fetching import WAIT as WAIT_LENGTH
from headrace_schemas.streams import HOSTS
from tests.waiting import eventually

WAIT = 60.0
MiB = 1 << 20


def field(number: int, mib: int) -> np.ndarray:
    return np.full(mib * MiB // 8, float(number))


def text(length: int) -> str:
    return "x" * length


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=2, runners=1, capacity=1 << 30) as cluster:
        yield cluster


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens, and nothing will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def behind_a_wall(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    """Clients of this test find the hosts' data ports closed; the publisher does not."""
    real = Connection.addresses.fget
    assert real is not None
    monkeypatch.setattr(Connection, "addresses", property(lambda self: dict.fromkeys(real(self), ("127.0.0.1", closed_port))))


def connect(cluster: hr.Cluster, via: str = "") -> hr.Cluster:
    return hr.Cluster.connect(cluster.url, token=cluster.token, via=via)


def request(cluster: hr.Cluster, subject: str, data: bytes = b"") -> bytes:
    async def ask() -> bytes:
        async with await Bus.connect(BusSettings(url=cluster.url, token=cluster.token), "test") as bus:
            return await bus.request(subject, data, 10.0)

    return asyncio.run(ask())


def fetches(cluster: hr.Cluster) -> int:
    return int(json.loads(request(cluster, "headrace.service.headrace-publisher.status"))["fetches"])


def large_graph(*sizes: int) -> hr.Graph:
    graph = hr.Graph("relayed")
    for number, mib in enumerate(sizes):
        graph.add(field, number, mib, name=f"field-{number}")
    graph.add(text, 20_000, name="text")
    graph.add(text, 5, name="small")
    return graph


def test_values_come_through_the_publisher_where_hosts_cannot_be_reached(cluster: hr.Cluster, behind_a_wall: None) -> None:
    with connect(cluster) as outside:
        for _ in range(2):
            results = outside.submit(large_graph(3, 1, 2)).results(WAIT)
            assert [len(results[f"field-{n}"]) * 8 // MiB for n in range(3)] == [3, 1, 2]
            assert all((results[f"field-{n}"] == n).all() for n in range(3))
            assert (results["text"], results["small"]) == ("x" * 20_000, "xxxxx")
    eventually(lambda: fetches(cluster) == 0)


def test_the_publisher_is_not_used_where_that_is_forbidden(cluster: hr.Cluster, behind_a_wall: None) -> None:
    with connect(cluster, via="hosts") as outside, pytest.raises(hr.OutputsLost, match="Connect"):
        outside.submit(large_graph(1)).results(WAIT)


def test_the_way_through_the_publisher_can_be_chosen(cluster: hr.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_link(*given: object) -> None:
        raise AssertionError(f"this client connects to a host itself: {given}")

    monkeypatch.setattr(fetching, "connect", no_link)
    monkeypatch.setenv("HEADRACE_VIA", "publisher")
    with connect(cluster) as outside:
        job = outside.submit(large_graph(1))
        assert (job.result("field-0", WAIT) == 0).all()
    with pytest.raises(ValueError, match="via='carrier pigeon'"):
        connect(cluster, via="carrier pigeon")


def test_a_large_value_takes_little_memory_in_the_publisher_for_several_clients_at_once(cluster: hr.Cluster) -> None:
    job = cluster.submit(large_graph(100, 100))
    assert job.wait(WAIT) == "done"
    publisher = psutil.Process(cluster.pids()["publisher"])
    before, most, over = publisher.memory_info().rss, 0, threading.Event()
    sums: list[float] = []

    def get() -> None:
        with connect(cluster, via="publisher") as outside:
            sums.append(float(outside.job(job.id).result("field-1", WAIT).sum()))

    clients = [threading.Thread(target=get) for _ in range(3)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        most = max(most, publisher.memory_info().rss)
        over.wait(0.01)
    assert sums == [100 * MiB / 8] * 3
    assert most - before < 40 * MiB, "three times 100 MiB went through it"


def test_nothing_more_is_fetched_for_a_client_that_has_gone(cluster: hr.Cluster) -> None:
    eventually(lambda: fetches(cluster) == 0)
    job = cluster.submit(large_graph(50))
    assert job.wait(WAIT) == "done"
    (record,) = [record for record in job.outputs() if record.name == "field-0"]
    host = record.host
    wanted = Fetch(job=job.id, host=host, datasets=[record.dataset, 4711], attempts=[0, 0])
    begun = decoder(Fetching).decode(request(cluster, FETCH_SUBJECT, encode(wanted)))
    piece = request(cluster, begun.subject, begun.session.encode())
    dataset, total, offset = HEADER.unpack_from(piece)
    assert (dataset, offset, total // MiB) == (record.dataset, 0, 50) or dataset == 4711
    assert fetches(cluster) == 1
    eventually(lambda: fetches(cluster) == 0)
    with pytest.raises(hr.HeadraceError, match="no such fetch"):
        request(cluster, begun.subject, begun.session.encode())
    assert (job.result("field-0", WAIT) == 0).all()


def test_a_host_that_nobody_can_reach_is_named_with_what_was_tried(closed_port: int) -> None:
    with hr.Cluster.local(hosts=1) as cluster:
        env = {**os.environ, "HEADRACE_URL": cluster.url, "HEADRACE_TOKEN": cluster.token}
        worker = ["worker", "--host", "walled", "--capacity", "64Mi", "--advertise", f"127.0.0.1:{closed_port}"]
        process = subprocess.Popen([sys.executable, "-m", "headrace.cli", *worker], env=env, start_new_session=True)
        try:
            eventually(lambda: "walled" in cluster.hosts)
            graph = hr.Graph()
            for number in range(6):
                graph.add(bytes, MiB, name=f"zeros-{number}")
            job = cluster.submit(graph)
            assert job.wait(WAIT) == "done"
            walled = [record.name for record in job.outputs() if record.host == "walled"]
            assert walled
            with pytest.raises(
                hr.OutputsLost, match=rf"walled: .*127\.0\.0\.1.*{closed_port}.*through the publisher: .*cannot reach host walled"
            ):
                job.result(walled[0], WAIT)
        finally:
            process.terminate()
            process.wait(WAIT)


def test_more_clients_than_a_publisher_serves_at_a_time_wait_their_turn(
    nats_server: EmbeddedServer, bus: Bus, runner: asyncio.Runner
) -> None:
    """Without a host: the first fetch holds the only place until it is idle, and the second is told to ask again."""

    async def main() -> None:
        server = await silent_host(bus)
        fetches = Fetches(bus, "test", FetchLimits(fetches=1, queue_seconds=0.05, idle_seconds=0.2, answer_seconds=0.05))
        await bus.serve("test", "fetches", fetches.endpoints)
        fetch = encode(Fetch(job="j", host="h0", datasets=[0], attempts=[0]))
        async with asyncio.timeout(WAIT):
            first = decoder(Fetching).decode(await bus.request("headrace.service.test.fetch", fetch))
            assert first.session
            assert HEADER.unpack(await bus.request(first.subject, first.session.encode()))[1] == WAIT_LENGTH
            answers = []
            while not (answers and answers[-1].session):
                answers.append(decoder(Fetching).decode(await bus.request("headrace.service.test.fetch", fetch)))
        assert not answers[0].session, "the first one had the place"
        assert len(fetches) == 1
        fetches.close()
        assert len(fetches) == 0
        server.close()

    runner.run(main())


def test_a_fetch_that_cannot_be_begun_or_takes_long_to_begin_gives_its_place_back(
    runner: asyncio.Runner, until: Callable[..., Awaitable[None]]
) -> None:
    """The only place: first for a fetch that is wrong, then for one whose client has gone before the host was found."""

    class SlowBus(MemoryBus):
        async def _last(self, stream: str, subject: str) -> Record | None:
            await asyncio.sleep(0.1)
            return await super()._last(stream, subject)

    async def main() -> None:
        bus = SlowBus()
        bus.pace.rest = 1.0
        server = await silent_host(bus)
        fetches = Fetches(bus, "test", FetchLimits(fetches=1, queue_seconds=0.01, idle_seconds=0.3, answer_seconds=0.01))
        await bus.serve("test", "fetches", fetches.endpoints)
        with pytest.raises(hr.HeadraceError, match="attempts has 0 entries"):
            await bus.request("headrace.service.test.fetch", encode(Fetch(job="j", host="h0", datasets=[0], attempts=[])))
        for _ in range(2):
            fetch = encode(Fetch(job="j", host="h0", datasets=[0], attempts=[0]))
            assert decoder(Fetching).decode(await bus.request("headrace.service.test.fetch", fetch)).session
            assert bus.pace.pause == 0, "questions about pieces come one after the other"
            await until(lambda: len(fetches) == 0)
            assert bus.pace.pause == 1.0
        server.close()

    runner.run(asyncio.wait_for(main(), WAIT))


async def silent_host(bus: Bus) -> Server:
    """In the cluster by the name of h0."""
    server = await serve("127.0.0.1", 0, Identity("h0", "host"), await ensure_data_key(bus), Silent())
    entry = HostEntry(host="h0", epoch=1, address=f"127.0.0.1:{server.address[1]}", runners=1, capacity=1)
    await bus.kv(HOSTS.name).put("h0", encode(entry))
    return server


class Silent:
    """A host that answers nothing."""

    def link_opened(self, link: Link) -> None: ...
    def link_closed(self, link: Link, reason: str) -> None: ...
    def frame_received(self, link: Link, frame: Frame, payload: memoryview) -> None: ...
    def data_sink(self, link: Link, frame: Data, nbytes: int) -> memoryview | None: ...


def test_what_cannot_be_fetched_is_said(cluster: hr.Cluster) -> None:
    def fetch(**fields: object) -> bytes:
        given = {"job": "nojob", "host": cluster.hosts[0], "datasets": [0], "attempts": [0]} | fields
        return request(cluster, FETCH_SUBJECT, encode(Fetch(**given)))  # type: ignore[arg-type]

    with pytest.raises(hr.HeadraceError, match="host nobody is not in the cluster"):
        fetch(host="nobody")
    with pytest.raises(hr.HeadraceError, match="attempts has 0 entries"):
        fetch(attempts=[])
    with pytest.raises(hr.HeadraceError, match="schema version 99"):
        fetch(v=99)
