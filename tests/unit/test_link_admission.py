"""The limits on accepted links, without a socket."""

from __future__ import annotations

from headrace.link.admission import Admission
from headrace.link.frames import Data, Gone, Values, Want
from headrace.link.framing import PREFIX, Parser, pack
from headrace.link.handshake import Peer
from headrace.link.settings import MAX_HEADER_BYTES, RECEIVE_BUFFER_BYTES

HOST = Peer("h0", "host", 1, None)


def test_of_too_many_strangers_the_one_that_waited_longest_goes():
    admission: Admission[str] = Admission(most_unproved=2)
    assert [admission.came(link) for link in ("a", "b", "c")] == [None, None, "a"]
    assert admission.proved("b", HOST)
    assert admission.came("d") is None
    admission.left("c")
    assert admission.came("e") is None
    assert admission.refused == {"unproved": 1, "peer": 0}


def test_a_peer_has_so_many_links_and_may_have_others_when_some_have_ended():
    admission: Admission[int] = Admission(most_of_a_peer=2)
    assert [admission.proved(link, HOST) for link in range(3)] == [True, True, False]
    assert admission.proved(3, Peer("h1", "host", 1, None))
    admission.left(0)
    admission.left(2)
    assert [admission.proved(link, HOST) for link in (4, 5)] == [True, False]
    assert admission.refused == {"unproved": 0, "peer": 2}


def test_the_clients_of_a_job_are_counted_together_whatever_they_call_themselves():
    admission: Admission[int] = Admission(most_of_a_peer=2)
    assert [admission.proved(k, Peer(f"c{k}", "client", 0, "j1")) for k in range(3)] == [True, True, False]
    assert admission.proved(3, Peer("c3", "client", 0, "j2"))


def opened() -> tuple[Parser, list[object]]:
    frames: list[object] = []
    parser = Parser(lambda frame, payload: frames.append((frame, bytes(payload))), lambda frame, nbytes: memoryview(bytearray(nbytes)))
    parser.open()
    return parser, frames


def feed(parser: Parser, data: bytes, most: int = 1 << 30) -> None:
    while data:
        room = parser.writable()
        count = min(len(room), len(data), most)
        room[:count] = data[:count]
        parser.received(count)
        data = data[count:]


def held(parser: Parser) -> int:
    return len(parser._buffer) + (0 if parser._buffer is parser._home else len(parser._home)) + len(parser._passage)


def test_a_buffer_grows_with_what_comes_and_not_with_what_is_announced():
    parser, _ = opened()
    feed(parser, PREFIX.pack(MAX_HEADER_BYTES, 0))
    assert held(parser) <= 2 * RECEIVE_BUFFER_BYTES
    feed(parser, bytes(300_000))
    assert held(parser) <= RECEIVE_BUFFER_BYTES + 2 * 300_100


def test_frames_longer_than_the_buffer_come_whole_however_they_are_cut():
    want = Want("j", list(range(60_000)), [0] * 60_000)
    values = Values("j", [0, 1], [0, 0], [700_000, 3])
    payload = bytes(range(256)) * 2735
    payload = payload[:700_000] + b"abc"
    stream = bytes(pack(want, 0)) + bytes(pack(values, len(payload))) + payload + bytes(pack(Gone("j", [1]), 0))
    for most in (1 << 30, 100_000, 7_001):
        parser, frames = opened()
        feed(parser, stream * 2, most)
        assert frames == [(want, b""), (values, payload), (Gone("j", [1]), b"")] * 2
        assert len(parser._buffer) == RECEIVE_BUFFER_BYTES


def test_a_parser_that_has_stopped_keeps_no_buffer():
    parser, frames = opened()
    feed(parser, PREFIX.pack(1_000_000, 0) + bytes(500_000))
    parser.stop()
    assert held(parser) == 0
    feed(parser, bytes(pack(Data("j", 1, 0), 10)) + bytes(10))
    assert frames == []
