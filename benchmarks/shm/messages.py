"""Messages between two Python processes: a unix socket with the arena beside it, and iceoryx2.

A message of up to `INLINE` bytes goes through the socket; a larger one is copied into a block of the arena, and its place goes through the
socket. That is how an agent and its runners talk. The answer is the same message, made again. iceoryx2 is measured twice: waiting for
its event, and looking for the sample all the time, which takes a core for each process that waits.
"""

from __future__ import annotations

import multiprocessing
import secrets
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.shm.peers import Bytes
from benchmarks.shm.timing import make_data
from headrace_shm import Arena

INLINE = 8 << 10
"""Bytes; above that the arena is used."""
WARM_UP = 20
WORD = struct.Struct("<QQ")
"""What goes ahead: the length, and where it lies in the arena."""
MOST_SECONDS = 3.0


class Trip(NamedTuple):
    """One way to send messages of one size."""

    how: str
    nbytes: int
    p50: float
    """Seconds for a message and its answer."""
    p99: float
    cpu: float
    """Seconds of CPU that the asking process took for it."""
    bandwidth: float
    """Bytes a second, both ways together."""


class Channel(Protocol):
    """One end."""

    def send(self, data: Bytes) -> None:
        """Send a copy of the data."""

    def receive(self) -> int:
        """Wait for a message, touch both its ends, return its length."""


class SocketChannel:
    """A unix socket, and one block of the arena for each direction."""

    def __init__(self, link: socket.socket, arena: Arena, ours: int, theirs: int) -> None:
        self._link = link
        self._arena = arena
        self._ours = ours
        self._theirs = theirs
        self._ended: list[int] = []

    def send(self, data: Bytes) -> None:
        """Inline, or copied into our block."""
        if data.nbytes <= INLINE:
            self._link.sendall(WORD.pack(data.nbytes, 0) + data.tobytes())
            return
        np.copyto(np.frombuffer(self._arena.writable(self._ours, data.nbytes), np.uint8), data)
        self._link.sendall(WORD.pack(data.nbytes, self._ours))

    def receive(self) -> int:
        """What came, or what lies in the place that came."""
        data = self._link.recv(WORD.size + INLINE)
        nbytes, offset = WORD.unpack_from(data)
        if nbytes <= INLINE:
            while len(data) < WORD.size + nbytes:
                data += self._link.recv(WORD.size + INLINE)
            return _touch(np.frombuffer(data, np.uint8, nbytes, WORD.size))
        view = self._arena.readonly(offset, nbytes, lambda: self._ended.append(offset))
        return _touch(np.frombuffer(view, np.uint8))


class IceoryxChannel:
    """A publisher, a subscriber, and an event for each direction."""

    def __init__(self, name: str, ours: str, theirs: str, nbytes: int, wait: bool) -> None:
        from benchmarks.shm import peer_iceoryx as peer

        self._payload = peer.payload
        self._wait = wait
        self._node = peer.open_node()
        service = peer.open_service(self._node, f"{name}/{ours}")
        self._publisher = service.publisher_builder().initial_max_slice_len(nbytes).max_loaned_samples(1).create()
        self._subscriber = peer.open_service(self._node, f"{name}/{theirs}").subscriber_builder().create()
        self._notifier = self._event(f"{name}/{ours}").notifier_builder().create()
        self._listener = self._event(f"{name}/{theirs}").listener_builder().create()

    def _event(self, name: str) -> Any:
        import iceoryx2

        return self._node.service_builder(iceoryx2.ServiceName.new(name)).event().open_or_create()

    def send(self, data: Bytes) -> None:
        """Loan, copy, send, and wake the other end if it waits."""
        sample = self._publisher.loan_slice_uninit(data.nbytes)
        np.copyto(self._payload(sample), data)
        sample.assume_init().send()
        if self._wait:
            self._notifier.notify()

    def receive(self) -> int:
        """The next sample."""
        sample = self._subscriber.receive()
        while sample is None:
            if self._wait:
                self._listener.blocking_wait()
            sample = self._subscriber.receive()
        nbytes = _touch(self._payload(sample))
        sample.delete()
        return nbytes


def _touch(data: Bytes) -> int:
    return data.nbytes if int(data[0]) + int(data[-1]) >= 0 else 0


def echo(open_channel: Callable[[Any], Channel], given: Any, nbytes: int, ready: Any) -> None:
    """The other process: answer everything until it is ended."""
    channel = open_channel(given)
    data = make_data(nbytes)
    ready.send(True)
    with suppress(OSError, struct.error):
        while True:
            channel.receive()
            channel.send(data)


def open_socket_end(given: tuple[socket.socket, Any, int]) -> Channel:
    """The echoing end of the socket."""
    link, fd, nbytes = given
    return SocketChannel(link, Arena.attach(fd.detach()), nbytes, 0)


def open_iceoryx_end(given: tuple[str, int, bool]) -> Channel:
    """The echoing end of iceoryx2."""
    return IceoryxChannel(given[0], "b", "a", given[1], given[2])


class ArenaHandle:
    """An arena's descriptor, duplicated for the process that it is pickled for."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena

    def __reduce__(self) -> Any:
        from multiprocessing.reduction import DupFd

        return _same, (DupFd(self._arena.fd),)


def _same(thing: Any) -> Any:
    return thing


def over_socket(nbytes: int, count: int) -> Trip:
    """Headrace's way."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Arena.create(8 * nbytes + (1 << 20)) as arena:
        room = -(-nbytes // 4096) * 4096
        channel = SocketChannel(ours, arena, 0, room)
        return _run("unix socket + arena", channel, open_socket_end, (theirs, ArenaHandle(arena), room), nbytes, count)


def over_iceoryx(nbytes: int, count: int, wait: bool) -> Trip:
    """iceoryx2, waiting for events or polling."""
    name = f"headrace-messages/{secrets.token_hex(8)}"
    channel = IceoryxChannel(name, "a", "b", nbytes, wait)
    how = "iceoryx2, waiting" if wait else "iceoryx2, polling"
    return _run(how, channel, open_iceoryx_end, (name, nbytes, wait), nbytes, count)


def _run(how: str, channel: Channel, open_end: Callable[[Any], Channel], given: Any, nbytes: int, count: int) -> Trip:
    context = multiprocessing.get_context("spawn")
    ready, theirs = context.Pipe()
    other = context.Process(target=echo, args=(open_end, given, nbytes, theirs), daemon=True)
    other.start()
    try:
        ready.recv()
        data = make_data(nbytes)
        _trips(channel, data, WARM_UP)
        cpu, started = time.process_time(), time.perf_counter()
        walls = _trips(channel, data, count)
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
    finally:
        other.kill()
        other.join()
    p50, p99 = np.percentile(walls, (50, 99))
    return Trip(how, nbytes, float(p50), float(p99), cpu / len(walls), 2 * nbytes * len(walls) / took)


def _trips(channel: Channel, data: Bytes, count: int) -> list[float]:
    """Seconds of each of up to `count` round trips."""
    walls: list[float] = []
    end = time.perf_counter() + MOST_SECONDS
    while len(walls) < count and time.perf_counter() < end:
        started = time.perf_counter()
        channel.send(data)
        if channel.receive() != data.nbytes:
            raise RuntimeError("an answer of another length than the question")
        walls.append(time.perf_counter() - started)
    return walls
