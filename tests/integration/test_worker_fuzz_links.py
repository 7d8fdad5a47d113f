"""Hostile strangers, clients, hosts and tasks: each loses its link or its runner, and the service goes on."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

import headrace as hr
from headrace.bus import Bus, EmbeddedServer, new_loop
from headrace.link import Data, Frame, Gone, Grant, Identity, Link, LinkRefused, Offer, Relay, Unwant, Values, Want, connect, job_key
from headrace.link.frames import HandshakeFrame, Hello, Proof
from headrace.link.framing import PREFIX, pack
from headrace.link.handshake import Initiator
from headrace.link.settings import VERSION
from headrace.runner import protocol
from headrace.worker import links
from headrace.worker.agent.actions import ToPeer
from headrace.worker.agent.early import MOST_EARLY
from headrace.worker.agent.events import RunnerSent
from headrace.worker.runners import _Connection
from headrace.worker.settings import Settings
from headrace_schemas import HostEntry, decoder, streams
from headrace_shm import Arena
from tests.unit.worker_world import JOB, World

WAIT = 60.0
STRANGERS = 400
AT_A_TIME = 40
GROWTH = 48 << 20
"""Bytes by which an agent may grow under all of this: what it keeps for jobs that may come is the most of it."""
HOSTS = ("host-0", "host-1")
SERVICES = (["controller"], ["scheduler"], *(["worker", name] for name in HOSTS))


@dataclass
class Site:
    """A cluster of processes that end if they unpickle anything."""

    server: EmbeddedServer
    log: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **self.server.settings.to_env(), "HEADRACE_LOG_LEVEL": "INFO"}
        with self.log.open("ab") as log:
            for command in SERVICES:
                python = [sys.executable, "-m", "tests.integration.unpickling_ends", *command]
                self.processes[command[-1]] = subprocess.Popen(python, env=environment, stdout=log, stderr=log)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(WAIT)

    def agent(self, name: str) -> psutil.Process:
        return psutil.Process(self.processes[name].pid)

    def expect_alive(self) -> None:
        assert {name: process.poll() for name, process in self.processes.items()} == dict.fromkeys(self.processes), self.log.read_text()


@pytest.fixture
def site(nats_server: EmbeddedServer, tmp_path: Path) -> Iterator[Site]:
    site = Site(nats_server, tmp_path / "log")
    site.start()
    yield site
    site.stop()


# --- strangers --------------------------------------------------------------------------------------------------------


class Target:
    """The data port of a host, and what a stranger may have recorded of it."""

    def __init__(self, entry: HostEntry, key: bytes) -> None:
        host, _, port = entry.address.rpartition(":")
        self.address = (host, int(port))
        self.key = key
        self.recorded = b""

    async def record(self) -> None:
        """A good handshake as it goes over the wire."""
        initiator = Initiator(Identity("recorded", "client"), job_key(self.key, "a"), "a")
        reader, writer = await asyncio.open_connection(*self.address)
        hello = initiator.begin()
        assert hello is not None
        self.recorded += bytes(pack(hello))
        writer.write(self.recorded)
        header, _ = PREFIX.unpack(await reader.readexactly(PREFIX.size))
        welcome = msgspec.msgpack.decode(await reader.readexactly(header), type=HandshakeFrame)
        proof = initiator.received(welcome)
        assert proof is not None
        self.recorded += bytes(pack(proof))
        writer.write(self.recorded[-len(pack(proof)) :])
        writer.close()


def hello(draw: random.Random, **fields: object) -> bytes:
    given = {"version": VERSION, "peer": "x", "role": "host", "epoch": 1, "nonce": draw.randbytes(32), "job": None, **fields}
    return bytes(pack(Hello(**given)))  # type: ignore[arg-type]


def strange_bytes(draw: random.Random, target: Target) -> bytes:
    """What a stranger may say."""
    return draw.choice(
        [
            lambda: draw.randbytes(draw.randrange(1, 4_000)),
            lambda: hello(draw)[: draw.randrange(1, 40)],
            lambda: PREFIX.pack(draw.choice([0, 1 << 20, 0xFFFFFFFF]), 0),
            lambda: PREFIX.pack(10, draw.choice([1, 1 << 40, 0xFFFFFFFFFFFFFFFF])) + draw.randbytes(64),
            lambda: target.recorded,
            lambda: hello(draw) + bytes(pack(Proof(draw.randbytes(32)))),
            lambda: hello(draw) + hello(draw),
            lambda: bytes(pack(Proof(draw.randbytes(32)))),
            lambda: hello(draw, version=VERSION + 1),
            lambda: hello(draw, role="client"),
            lambda: bytes(pack(Want("a", [1], [0]))),
            lambda: PREFIX.pack(1_000, 0) + b"\x91" * 1_000,
        ]
    )()


async def stranger(draw: random.Random, target: Target) -> None:
    """Says it, and goes: in order, with a reset, or when it is sent away."""
    data, end = strange_bytes(draw, target), draw.choice(["close", "reset", "wait"])
    reader, writer = await asyncio.open_connection(*target.address)
    try:
        writer.write(data)
        await writer.drain()
        if end == "wait":
            if not writer.is_closing():  # sent away already
                writer.write_eof()
            async with asyncio.timeout(WAIT):
                while await reader.read(4096):
                    pass
        elif end == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except TimeoutError:
        raise
    except OSError:  # a reset, or there was no connection any more for `write_eof` to end
        pass
    finally:
        writer.close()


# --- those who have proved who they are ---------------------------------------------------------------------------------


class Insider:
    """The owner of a link that was opened well."""

    def __init__(self) -> None:
        self.heard: list[Frame] = []
        self.closed = asyncio.Event()

    def link_opened(self, link: Link) -> None:
        """Nothing to do."""

    def link_closed(self, link: Link, reason: str) -> None:
        self.closed.set()

    def frame_received(self, link: Link, frame: Frame, payload: memoryview) -> None:
        self.heard.append(frame)

    def data_sink(self, link: Link, frame: Data, nbytes: int) -> memoryview | None:
        return None


BY_CLIENTS: list[tuple[Frame, bytes]] = [
    (Values("a", [0], [0], [3]), b"abc"),
    (Offer("a", [0], [0], [1 << 62]), b""),
    (Data("a", 0, 0), bytes(1_000)),
    (Gone("a", [0]), b""),
    (Relay("a", 0, "host-1", "127.0.0.1:1", 1, 1), b""),
    (Want("a", list(range(MOST_EARLY + 1)), [0] * (MOST_EARLY + 1)), b""),
]
"""Frames of the producer's side, and more wants than are kept."""


async def ended_for(target: Target, frame: Frame, payload: bytes, role: str) -> None:
    """Sends this over a good link, which ends."""
    owner, job = Insider(), "a" if role == "client" else None
    key = target.key if job is None else job_key(target.key, job)
    link = await connect(target.address, Identity("insider", role, 1), key, owner, job)
    link.send(frame, payload) if payload else link.send(frame)
    async with asyncio.timeout(WAIT):
        await owner.closed.wait()


async def open_insider(target: Target, job: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A good handshake over a plain connection."""
    initiator = Initiator(Identity("raw", "client"), job_key(target.key, job), job)
    reader, writer = await asyncio.open_connection(*target.address)
    first = initiator.begin()
    assert first is not None
    writer.write(bytes(pack(first)))
    header, _ = PREFIX.unpack(await reader.readexactly(PREFIX.size))
    proof = initiator.received(msgspec.msgpack.decode(await reader.readexactly(header), type=HandshakeFrame))
    assert proof is not None
    writer.write(bytes(pack(proof)))
    return reader, writer


async def raw_insider(target: Target, data: bytes) -> None:
    """Sends bytes over a good link that no `Link` would send; the host ends it."""
    reader, writer = await open_insider(target, "a")
    writer.write(data)
    try:
        async with asyncio.timeout(WAIT):
            while await reader.read(4096):
                pass
    except ConnectionError:
        pass
    writer.close()


def raw_frames(draw: random.Random) -> Iterator[bytes]:
    yield bytes(pack(Want("b", [1], [0])))
    yield bytes(pack(Grant("b", [1])))
    yield PREFIX.pack(0xFFFFFFFF, 0)
    yield PREFIX.pack(0, 0)
    yield PREFIX.pack(len(b := msgspec.msgpack.encode(["want", "a", [-1], [0]])), 0) + b
    yield PREFIX.pack(len(b := msgspec.msgpack.encode(["want", "a", [1, 2], [0]])), 0) + b
    yield PREFIX.pack(len(b := msgspec.msgpack.encode(["grant", "a", [1, 2], [0]])), 0) + b
    yield PREFIX.pack(len(b := msgspec.msgpack.encode(["relay", "a", 0, "host-1", "x:1", 1, 0])), 0) + b
    yield PREFIX.pack(len(b := msgspec.msgpack.encode(["values", "a", [1], [0], [1 << 62]])), 1 << 62) + b
    yield PREFIX.pack(len(b := msgspec.msgpack.encode(["data", "a", 1, 0])), 1 << 62) + b
    yield PREFIX.pack(len(b := b"\x91" * 100_000), 0) + b
    for _ in range(10):
        yield PREFIX.pack(200, 0) + draw.randbytes(200)


async def greedy(target: Target, until: Callable[..., Awaitable[None]]) -> None:
    """Asks for the same again and again, of a job that nobody knows, and grants what was never offered."""
    owner = Insider()
    link = await connect(target.address, Identity("greedy", "client"), job_key(target.key, "a"), owner, "a")
    for _ in range(50):
        link.send(Want("a", [1] * 100_000, [0] * 100_000))
    link.send(Unwant("a", [1 << 63]))
    for _ in range(3):
        link.send(Grant("a", [7, 7, 1 << 40], [0, 1 << 62, 5]))
    link.send(Want("a", [1], [0], "not an address"))
    await until(lambda: sum(isinstance(frame, Gone) for frame in owner.heard) == 3, WAIT)
    assert not owner.closed.is_set()
    link.close()


async def wrong_keys(target: Target) -> None:
    with pytest.raises(LinkRefused):
        await connect(target.address, Identity("x", "host", 1), bytes(32), Insider())
    with pytest.raises(LinkRefused):
        await connect(target.address, Identity("x", "client"), job_key(target.key, "a"), Insider(), "b")
    with pytest.raises(LinkRefused):
        await connect(target.address, Identity("x", "client"), target.key, Insider(), "a")


# --- the tests ----------------------------------------------------------------------------------------------------------


def field_of(k: int) -> np.ndarray:
    return np.full(50_000, float(k))


def mean_of(*fields: np.ndarray) -> float:
    return float(np.mean([f.mean() for f in fields]))


def run_a_job(server: EmbeddedServer) -> None:
    """Transfers between both hosts, large and small."""
    with hr.Cluster.connect(server.url, token=server.token) as cluster:
        graph = hr.Graph("afterwards")
        fields = [graph.add(field_of, k) for k in range(8)]
        means = [graph.add(mean_of, *fields[k : k + 4]) for k in range(5)]
        graph.output(graph.add(mean_of_numbers, *means, name="mean"))
        graph.output(graph.add(np.add, fields[0], fields[7], name="sum"))
        results = cluster.submit(graph).results(WAIT)
    assert results["mean"] == 3.5
    assert np.array_equal(results["sum"], np.full(50_000, 7.0))


def mean_of_numbers(*numbers: float) -> float:
    return float(np.mean(numbers))


async def targets(bus: Bus) -> list[Target]:
    """The data ports of all hosts, once they are registered."""
    bucket, found = bus.kv(streams.HOSTS.name), []
    deadline = time.monotonic() + WAIT
    while len(found) < len(HOSTS):
        assert time.monotonic() < deadline
        entries = [await bucket.get(name) for name in HOSTS]
        found = [entry.value for entry in entries if entry is not None]
        await asyncio.sleep(0.02)
    secret = await bus.kv(streams.SECRETS.name).get("dataplane")
    assert secret is not None
    key = bytes.fromhex(secret.value.decode())
    return [Target(decoder(HostEntry).decode(value), key) for value in found]


async def crowd(draw: random.Random, target: Target, count: int) -> None:
    for start in range(0, count, AT_A_TIME):
        await asyncio.gather(*(stranger(draw, target) for _ in range(start, min(start + AT_A_TIME, count))))


async def attack(bus: Bus, site: Site, until: Callable[..., Awaitable[None]]) -> None:
    draw = random.Random(20_261_122)
    target = (await targets(bus))[0]
    await target.record()
    await crowd(draw, target, AT_A_TIME)  # what grows once, such as buffers and code, has grown
    agent = site.agent(HOSTS[0])
    rss, descriptors = agent.memory_info().rss, agent.num_fds()
    await crowd(draw, target, STRANGERS)
    await wrong_keys(target)
    for frame, payload in BY_CLIENTS:
        await ended_for(target, frame, payload, "client")
        await ended_for(target, frame, payload, "host")
    for data in raw_frames(draw):
        await raw_insider(target, data)
    await greedy(target, until)
    await until(lambda: agent.num_fds() <= descriptors + 1, WAIT)
    grown = agent.memory_info().rss - rss
    assert grown < GROWTH, f"the agent has grown by {grown} bytes"


def test_strangers_and_insiders_lose_their_links_and_the_service_goes_on(
    site: Site, runner: asyncio.Runner, bus: Bus, until: Callable[..., Awaitable[None]]
) -> None:
    runner.run(attack(bus, site, until))
    site.expect_alive()
    run_a_job(site.server)
    site.expect_alive()
    log = site.log.read_text()
    for reason in (
        "a link is not opened",
        'error="a header of',
        "did not prove that it has our key",
        "out of turn in the handshake",
        f"speaks version {VERSION + 1} of the link",
        "frame of job 'b' on a link of job 'a'",
        "a Values frame is not allowed here: this host did not ask for it",
        "a Gone frame is not allowed here: this host did not ask for it",
        "a Relay frame is not allowed here: this host did not ask for it",
        "which were not granted",
        "datasets of jobs that this host does not know",
        "columns differ in length",
        "that is not a frame allowed at this point",
    ):
        assert reason in log, f"nothing in the log says {reason!r}"
    assert "Traceback" not in log, log
    assert "UNPICKLED" not in log


def agent_socket() -> int:
    """Descriptor of the runner's socket to its agent."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_STREAM):
                    found.append(int(name))
        except OSError:
            continue
    (fd,) = found
    return fd


def spoil(marker: str, garbage: bytes | None) -> str:
    """The first time: writes to the agent's socket, or closes it (None), and goes on as if nothing were."""
    if not os.path.exists(marker):
        Path(marker).touch()
        if garbage is None:
            os.close(agent_socket())
        else:
            os.write(agent_socket(), garbage)
        time.sleep(WAIT)
    return "survived"


def inc(x: int) -> int:
    return x + 1


GARBAGE = {
    "noise": random.Random(1).randbytes(5_000),
    "oversized": protocol.LENGTH.pack(0xFFFFFFFF),
    "no_frame": protocol.LENGTH.pack(2) + b"\x91\xc0",
    "nested": protocol.LENGTH.pack(100_000) + b"\x91" * 100_000,
    "negative": protocol.pack(protocol.Results(1, datasets=[-1], values=[b""])),
    "columns": protocol.pack(protocol.Results(1, datasets=[0, 1], values=[b""])),
    "not_its_own": protocol.pack(protocol.Allocate(1, 1 << 60, -1, 1 << 60)) + protocol.pack(protocol.Released([1 << 60], [-1])),
    "closed": None,
}


def test_a_task_that_spoils_its_runners_socket_loses_the_runner_and_the_job_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with hr.Cluster.local(hosts=1, log_file=log) as cluster:
        pid = cluster.pids()["host-0"]
        graph = hr.Graph("spoilt")
        node = graph.add(inc, 0)
        for _ in range(20):
            node = graph.add(inc, node)
        graph.output(graph.add(sum, [node, graph.add(inc, 1)], name="others"))
        for name, garbage in GARBAGE.items():
            graph.output(graph.add(spoil, str(tmp_path / name), garbage, name=name))
        results = cluster.submit(graph).results(WAIT)
        assert results == {"others": 23, **dict.fromkeys(GARBAGE, "survived")}
        assert cluster.compute(hr.delayed(inc)(1), timeout=WAIT) == 2
        assert cluster.pids()["host-0"] == pid
    said = log.read_text()
    assert said.count("replacing a runner") >= len(GARBAGE), said
    assert said.count("internal error in handling its frames") == 0, said
    assert "Traceback" not in said, said


# --- one link, one runner's socket --------------------------------------------------------------------------------------


class Impatient(World):
    """Hosts that let little wait for a peer to read it."""

    def settings(self, host: str, runners: int) -> Settings:
        return msgspec.structs.replace(super().settings(host, runners), unread_bytes=1 << 20)


def test_who_asks_and_does_not_read_loses_the_link(
    runner: asyncio.Runner, until: Callable[..., Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    world = Impatient([[], [0]], [1], {}, 1, 1, 1 << 20)
    world.assign([[0], [1]], [0, 0], [0, 1])
    world.pump()
    agent, key = world.agents["h0"], bytes(range(32))
    agent.handle(RunnerSent(0, [protocol.Results(1, segments=[1], datasets=[0], values=[bytes(8_000)])]))

    async def main() -> None:
        with Arena.create(1 << 20) as arena:

            def pump() -> None:
                for action in agent.take():
                    if isinstance(action, ToPeer):
                        ours.act(action)

            ours = links.Links(agent, arena, key, pump)
            host, port = await ours.listen("127.0.0.1", 0)
            entry = HostEntry(host="h0", epoch=1, address=f"{host}:{port}", runners=1, capacity=1)
            reader, writer = await open_insider(Target(entry, key), JOB)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(bytes(pack(Want(JOB, [0], [0]))) * 4_000)
            await until(lambda: "does not read what it asked for" in caplog.text, WAIT)
            writer.close()
            await ours.close()

    runner.run(main())
    assert agent.memory.store.used == 0


class Spoilt:
    """What a runner's connection calls, where the agent itself fails on every frame."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_frames(self, slot: int, frames: list[protocol.ToAgent]) -> None:
        self.calls.append("frames")
        raise KeyError("a mistake of the agent's")

    def kill(self, slot: int) -> None:
        self.calls.append("kill")

    def lost(self, slot: int) -> None:
        self.calls.append("lost")


@pytest.mark.parametrize("loop", [new_loop, asyncio.new_event_loop], ids=["service", "asyncio"])
def test_what_the_agent_fails_on_ends_that_runner_and_no_exception_gets_into_the_loop(
    loop: Callable[[], asyncio.AbstractEventLoop], until: Callable[..., Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        escaped: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: escaped.append(context))
        ours, theirs = socket.socketpair()
        owner = Spoilt()
        made = _Connection(owner, 0)  # type: ignore[arg-type]
        await asyncio.get_running_loop().create_unix_connection(lambda: made, sock=ours)
        theirs.sendall(protocol.pack(protocol.Released([1], [1])) * 3)
        await until(lambda: "lost" in owner.calls)
        protocol.pack_behind(made.unsent, protocol.CloseJob(1))
        made.flush()  # to one that is gone
        assert owner.calls == ["frames", "kill", "lost"]
        assert not escaped
        theirs.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert "replacing a runner after an internal error in handling its frames" in caplog.text
    assert "a mistake of the agent's" in caplog.text
