"""Links over real sockets on loopback, on uvloop and on asyncio's own loop."""

import asyncio
import resource
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial

import msgspec
import pytest
import uvloop

from headrace.link import (
    Data,
    Gone,
    Grant,
    Identity,
    Link,
    LinkClosed,
    LinkError,
    LinkRefused,
    MalformedFrame,
    Values,
    Want,
    connect,
    job_key,
    serve,
)
from headrace.link import link as link_module
from headrace.link import tcp as tcp_module
from headrace.link.admission import Admission
from headrace.link.frames import HandshakeFrame, Proof
from headrace.link.framing import PREFIX, pack
from headrace.link.handshake import Initiator
from headrace.link.settings import HANDSHAKE_BUFFER_BYTES

KEY = bytes(range(32))
A = Identity("a", "host", 11)
B = Identity("b", "host", 22)
CLIENT = Identity("c", "client")
DEADLINE_S = 20
MIB = 1 << 20


@dataclass
class Owner:
    """A handler that keeps all it is told; `happened` is set with each of it."""

    room: dict[int, memoryview] = field(default_factory=dict)
    opened: list[Link] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    got: list[tuple[object, bytes]] = field(default_factory=list)
    sinks: list[int] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def link_opened(self, link):
        self.opened.append(link)
        self.happened.set()

    def link_closed(self, link, reason):
        self.closed.append(reason)
        self.happened.set()

    def frame_received(self, link, frame, payload):
        if isinstance(frame, Data):
            assert payload.obj is self.room[frame.dataset].obj
        self.got.append((frame, b"" if isinstance(frame, Data) else bytes(payload)))
        self.happened.set()

    def data_sink(self, link, frame, nbytes):
        self.sinks.append(frame.dataset)
        self.happened.set()
        return self.room.get(frame.dataset)

    async def until(self, condition):
        """Wait until `condition()` holds, looking again whenever something has happened."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.happened.clear()
                await self.happened.wait()


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request):
    """Run a coroutine to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


async def pair(here=None, there=None, identity=A, key=KEY, job=None):
    """A server owned by `there`, and a link to it owned by `here`, open on both sides."""
    there = there or Owner()
    server = await serve("127.0.0.1", 0, B, KEY, there)
    link = await connect(server.address, identity, key, here or Owner(), job)
    await there.until(lambda: there.opened)
    return server, there, link


class Stranger:
    """Speaks to a server over a plain socket, byte by byte if need be."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def come(cls, address):
        return cls(*await asyncio.open_connection(*address))

    def say(self, frame, payload=b""):
        self.writer.write(bytes(pack(frame, len(payload))) + payload)

    async def hear(self):
        header, _ = PREFIX.unpack(await self.reader.readexactly(PREFIX.size))
        return msgspec.msgpack.decode(await self.reader.readexactly(header), type=HandshakeFrame)

    async def shake(self, initiator):
        """The handshake, as it should be; returns the proof that was given."""
        self.say(initiator.begin())
        proof = initiator.received(await self.hear())
        self.say(proof)
        return proof

    async def is_turned_away(self):
        """Wait until the server ends the connection."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        self.writer.close()


# -- who gets in ------------------------------------------------------------------------------------------------------


def test_hosts_know_each_other_and_talk_both_ways(run):
    async def main():
        here = Owner()
        server, there, link = await pair(here)
        back = there.opened[0]
        assert (link.peer, link.role, link.epoch, link.job) == ("b", "host", 22, None)
        assert (back.peer, back.role, back.epoch, back.job) == ("a", "host", 11, None)
        link.send(Want("j", [1, 2], [0, 0]))
        back.send(Values("j", [1, 2], [0, 0], [3, 2]), b"abc", memoryview(bytearray(b"de")))
        await there.until(lambda: there.got)
        await here.until(lambda: here.got)
        assert there.got == [(Want("j", [1, 2], [0, 0]), b"")]
        assert here.got == [(Values("j", [1, 2], [0, 0], [3, 2]), b"abcde")]
        server.close()
        await here.until(lambda: here.closed)
        await there.until(lambda: there.closed)
        assert there.closed == ["this side stops"]
        assert len(here.closed) == 1

    run(main())


def test_a_client_names_its_job_and_no_other(run):
    async def main():
        server, there, link = await pair(identity=CLIENT, key=job_key(KEY, "j1"), job="j1")
        assert (link.job, there.opened[0].job, there.opened[0].role) == ("j1", "j1", "client")
        link.send(Want("j1", [1], [0]))
        await there.until(lambda: there.got)
        for each in (link, there.opened[0]):
            with pytest.raises(ValueError, match="job 'j2' on a link of job 'j1'"):
                each.send(Gone("j2", [1]))
        server.close()

    run(main())


@pytest.mark.parametrize("frame", [Want("j2", [1], [0]), Data("j2", 1, 0)], ids=["small", "data"])
def test_a_client_that_names_another_job_is_turned_away(run, frame):
    async def main():
        there = Owner(room={1: memoryview(bytearray(5))})
        server = await serve("127.0.0.1", 0, B, KEY, there)
        stranger = await Stranger.come(server.address)
        await stranger.shake(Initiator(CLIENT, job_key(KEY, "j1"), "j1"))
        stranger.say(frame, b"12345" if isinstance(frame, Data) else b"")
        await there.until(lambda: there.closed)
        await stranger.is_turned_away()
        assert "of job 'j2' on a link of job 'j1'" in there.closed[0]
        assert there.got == []
        assert there.sinks == []
        server.close()

    run(main())


def test_a_wrong_key_is_refused_and_the_server_goes_on(run, caplog):
    async def main():
        there = Owner()
        server = await serve("127.0.0.1", 0, B, KEY, there)
        for identity, key, job in ((A, b"x" * 32, None), (CLIENT, job_key(KEY, "j1"), "j2"), (CLIENT, KEY, "j1")):
            here = Owner()
            with pytest.raises(LinkRefused, match="did not prove that it has our key"):
                await connect(server.address, identity, key, here, job)
            assert not here.opened
            assert not here.closed
        await connect(server.address, A, KEY, Owner())
        await there.until(lambda: there.opened)
        assert len(there.opened) == 1
        assert there.closed == []
        server.close()

    run(main())
    assert "is not opened" in caplog.text


def test_a_replayed_handshake_is_refused(run):
    async def main():
        there = Owner()
        server = await serve("127.0.0.1", 0, B, KEY, there)
        first, again = await Stranger.come(server.address), await Stranger.come(server.address)
        initiator = Initiator(A, KEY)
        proof = await first.shake(initiator)
        await there.until(lambda: there.opened)
        again.say(initiator.begin())
        await again.hear()
        again.say(proof)
        again.say(Want("j", [1], [0]))
        await again.is_turned_away()
        assert len(there.opened) == 1
        assert there.got == []
        server.close()
        first.writer.close()

    run(main())


def test_a_reflected_proof_is_refused(run):
    async def main():
        there = Owner()
        server = await serve("127.0.0.1", 0, B, KEY, there)
        stranger = await Stranger.come(server.address)
        stranger.say(Initiator(A, b"not the key, sadly").begin())
        stranger.say(Proof((await stranger.hear()).proof))
        await stranger.is_turned_away()
        assert there.opened == there.closed == []
        server.close()

    run(main())


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n" * 100,
        PREFIX.pack(1 << 20, 0) + b"x" * 100,
        bytes(pack(Want("j", [1], [0]))),
        b"\0" * HANDSHAKE_BUFFER_BYTES,
    ],
    ids=["http", "long header", "frame before the handshake", "zeros"],
)
def test_strangers_are_turned_away(run, noise):
    async def main():
        there = Owner()
        server = await serve("127.0.0.1", 0, B, KEY, there)
        stranger = await Stranger.come(server.address)
        stranger.writer.write(noise)
        await stranger.is_turned_away()
        await connect(server.address, A, KEY, Owner())
        await there.until(lambda: there.opened)
        assert there.got == []
        server.close()

    run(main())


def test_silence_is_turned_away_at_the_deadline(run, monkeypatch, caplog):
    monkeypatch.setattr(link_module, "HANDSHAKE_DEADLINE_S", 0.1)

    async def main():
        server = await serve("127.0.0.1", 0, B, KEY, Owner())
        await (await Stranger.come(server.address)).is_turned_away()
        server.close()

    run(main())
    assert "no proof within 0.1 s" in caplog.text


def test_strangers_and_peers_with_too_many_links_are_turned_away_and_others_get_in(run, monkeypatch, caplog):
    async def main():
        monkeypatch.setattr(tcp_module, "Admission", partial(Admission, 3, 2))
        there = Owner()
        server = await serve("127.0.0.1", 0, B, KEY, there)
        strangers = [await Stranger.come(server.address) for _ in range(8)]
        for stranger in strangers[:5]:
            await stranger.is_turned_away()
        links = [await connect(server.address, A, KEY, Owner()) for _ in range(2)]
        await connect(server.address, Identity("c", "host"), KEY, Owner())
        await there.until(lambda: len(there.opened) == 3)
        one_more = Stranger(*await asyncio.open_connection(*server.address))
        await one_more.shake(Initiator(A, KEY))
        await one_more.is_turned_away()
        assert server.refused["peer"] == 1
        assert server.refused["unproved"] >= 5
        links[0].close()
        await there.until(lambda: there.closed)
        await connect(server.address, A, KEY, Owner())
        await there.until(lambda: len(there.opened) == 4)
        server.close()

    run(main())
    assert "it had not proved its identity" in caplog.text
    assert "'a' has 2 links, and must close one first" in caplog.text


def test_an_open_link_outlives_the_deadline(run, monkeypatch):
    monkeypatch.setattr(link_module, "HANDSHAKE_DEADLINE_S", 0.1)

    async def main():
        server, there, link = await pair()
        past = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, past.set)
        await past.wait()
        link.send(Gone("j", [1]))
        await there.until(lambda: there.got)
        assert there.closed == []
        server.close()

    run(main())


def test_a_server_that_says_nothing_is_given_up(run, monkeypatch):
    monkeypatch.setattr(link_module, "HANDSHAKE_DEADLINE_S", 0.1)

    async def main():
        silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        with pytest.raises(LinkRefused, match="no proof within"):
            await connect(silent.sockets[0].getsockname(), A, KEY, Owner())
        silent.close()
        with pytest.raises(LinkRefused, match="no link to 127"):
            await connect(("127.0.0.1", 1), A, KEY, Owner())

    run(main())


def test_keys_that_are_too_short_are_said_at_once(run):
    async def main():
        with pytest.raises(ValueError, match="at least 16"):
            await serve("127.0.0.1", 0, B, b"", Owner())
        with pytest.raises(ValueError, match="at least 16"):
            await connect(("127.0.0.1", 1), A, b"", Owner())

    run(main())


# -- what goes over it ------------------------------------------------------------------------------------------------


def test_a_large_payload_arrives_in_place_without_another_copy():
    """256 MB from memory to memory: the peak of the process grows by less than an eighth of that."""
    size = 256 * MIB
    source = bytearray(struct.pack("<Q", 0x0123456789ABCDEF)) * (size // 8)
    source[-5:] = b"tail!"
    room = memoryview(bytearray(b"\1") * size)

    async def main():
        there = Owner(room={7: room})
        server, _, link = await pair(there=there)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told = []
        link.send(Data("j", 7, 0), source, on_sent=told.append)
        assert link.queued_bytes > size
        await link.drain()
        assert link.queued_bytes == 0
        await there.until(lambda: there.got)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert told == [True]
        assert grown * 1024 < size // 8
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert room == source


def test_small_frames_overtake_large_ones_but_cut_none(run):
    async def main():
        there = Owner(room={number: memoryview(bytearray(24 * MIB)) for number in (1, 2)})
        server, _, link = await pair(there=there)
        payloads = {1: b"1" * (24 * MIB), 2: b"2" * (24 * MIB)}
        for number, payload in payloads.items():
            link.send(Data("j", number, 0), payload)
        await there.until(lambda: there.sinks)
        link.send(Gone("j", [9]))
        await there.until(lambda: len(there.got) == 3)
        assert [frame for frame, _ in there.got] == [Data("j", 1, 0), Gone("j", [9]), Data("j", 2, 0)]
        assert {number: bytes(view) for number, view in there.room.items()} == payloads
        server.close()

    run(main())


def test_memory_is_free_once_it_is_said_to_be_sent(run):
    """Overwritten in `on_sent`, each payload still arrives as it was."""

    async def main():
        sizes = [1, 1000, 70_000, 9 * MIB, 0, 3]
        there = Owner(room={number: memoryview(bytearray(size)) for number, size in enumerate(sizes)})
        server, _, link = await pair(there=there)
        memory = [bytearray([number + 1]) * size for number, size in enumerate(sizes)]

        def overwrite(number, written):
            assert written
            memory[number][:] = bytes(sizes[number])

        for number in range(len(sizes)):
            link.send(Data("j", number, 0), memory[number], on_sent=lambda written, number=number: overwrite(number, written))
        sizes.append(5 * MIB)
        memory.append(bytearray(b"v" * sizes[-1]))
        link.send(Values("j", [50], [0], [sizes[-1]]), memory[-1], on_sent=lambda written: overwrite(-1, written))
        await there.until(lambda: len(there.got) == len(sizes))
        await link.drain()
        assert not any(map(any, memory))
        for number, view in there.room.items():
            assert view == bytes([number + 1]) * sizes[number]
        assert there.got[0] == (Values("j", [50], [0], [5 * MIB]), b"v" * 5 * MIB)
        server.close()

    run(main())


def test_many_frames_keep_their_order(run):
    async def main():
        server, there, link = await pair()
        sent = [Grant("j", list(range(n % 50))) for n in range(3000)]
        for frame in sent:
            link.send(frame)
        await there.until(lambda: len(there.got) == len(sent))
        assert [frame for frame, _ in there.got] == sent
        server.close()

    run(main())


def test_what_the_other_side_would_refuse_is_not_sent(run):
    async def main():
        server, there, link = await pair()
        with pytest.raises(MalformedFrame, match="instead of 3"):
            link.send(Values("j", [1], [0], [3]), b"1234")
        link.send(Gone("j", [1]))
        await there.until(lambda: there.got)
        assert there.closed == []
        server.close()

    run(main())


# -- how it ends ------------------------------------------------------------------------------------------------------


def test_data_that_was_not_granted_ends_the_link(run, caplog):
    async def main():
        here = Owner()
        server, there, link = await pair(here)
        link.send(Data("j", 1, 0), b"unasked for")
        await there.until(lambda: there.closed)
        await here.until(lambda: here.closed)
        assert "11 bytes of dataset 1, attempt 0, which were not granted" in there.closed[0]
        server.close()

    run(main())
    assert "which were not granted" in caplog.text


def test_an_owner_that_fails_loses_that_link_only(run, caplog):
    class Fails(Owner):
        def frame_received(self, link, frame, payload):
            if frame == Gone("j", [13]):
                raise RuntimeError("unlucky")
            super().frame_received(link, frame, payload)

    async def main():
        server, there, link = await pair(there=Fails(room={1: memoryview(bytearray(4)).toreadonly()}))
        other = await connect(server.address, A, KEY, Owner())
        short = await connect(server.address, A, KEY, Owner())
        link.send(Gone("j", [13]))
        short.send(Data("j", 1, 0), b"1234")
        await there.until(lambda: len(there.closed) == 2)
        assert "its owner failed" in there.closed[0]
        other.send(Gone("j", [14]))
        await there.until(lambda: there.got)
        server.close()

    run(main())
    assert "unlucky" in caplog.text
    assert "is not writable and contiguous" in caplog.text


def test_close_drops_what_is_queued_and_says_so(run):
    async def main():
        here = Owner()
        server, there, link = await pair(here, Owner(room={1: memoryview(bytearray(64 * MIB))}))
        told = []
        link.send(Data("j", 1, 0), bytes(64 * MIB), on_sent=told.append)
        link.send(Data("j", 2, 0), b"more", on_sent=told.append)
        waiting = asyncio.ensure_future(link.drain())
        await there.until(lambda: there.sinks)
        link.close("enough")
        link.close("again")
        with pytest.raises(LinkClosed, match="enough"):
            await waiting
        await here.until(lambda: here.closed)
        await there.until(lambda: there.closed)
        assert here.closed == ["enough"]
        assert told == [False, False]
        assert len(there.closed) == 1
        assert there.got == []
        for late in (lambda: link.send(Gone("j", [1])), lambda: asyncio.ensure_future(link.drain())):
            with pytest.raises(LinkClosed, match="enough"):
                await (late() or asyncio.sleep(0))
        server.close()

    run(main())


def test_a_link_that_is_not_open_says_so(run):
    async def main():
        link = Link(Owner(), Initiator(A, KEY))
        with pytest.raises(LinkError, match="not open yet"):
            link.send(Gone("j", [1]))
        with pytest.raises(LinkError, match="not open yet"):
            _ = link.peer

    run(main())


SENDER = """
import asyncio, sys
from headrace.link import Data, Identity, connect

class Silent:
    def link_opened(self, link): pass
    def link_closed(self, link, reason): pass

async def main():
    link = await connect(("127.0.0.1", int(sys.argv[1])), Identity("a", "host", 1), bytes(range(32)), Silent())
    link.send(Data("j", 1, 0), bytes(128 << 20))
    await link.drain()
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_peer_killed_in_the_middle_of_a_frame(run):
    """Killed while it sends: the owner is told once, and the server goes on."""

    class Kills(Owner):
        def data_sink(self, link, frame, nbytes):
            self.child.send_signal(signal.SIGKILL)
            return super().data_sink(link, frame, nbytes)

    async def main():
        there = Kills(room={1: memoryview(bytearray(128 * MIB))})
        server = await serve("127.0.0.1", 0, B, KEY, there)
        there.child = subprocess.Popen([sys.executable, "-c", SENDER, str(server.address[1])])
        try:
            await there.until(lambda: there.closed)
        finally:
            there.child.kill()
            there.child.wait()
        await connect(server.address, A, KEY, Owner())
        await there.until(lambda: len(there.opened) == 2)
        assert len(there.closed) == 1
        assert "middle of a frame" in there.closed[0] or "connection lost" in there.closed[0]
        assert there.got == []
        server.close()

    run(main())
