"""The parser of frames: any split of the stream gives the same frames; any wrong bytes give `MalformedFrame`."""

import contextlib
import weakref

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.link.errors import MalformedFrame
from headrace.link.frames import Data, Gone, Grant, Hello, Offer, Proof, Relay, Unwant, Values, Want, Welcome
from headrace.link.framing import PREFIX, Parser, Place, pack
from headrace.link.settings import MAX_HANDSHAKE_BYTES, MAX_HEADER_BYTES, MAX_VALUES_BYTES, PASSAGE_BYTES, RECEIVE_BUFFER_BYTES

NONCE = bytes(32)


class Owner:
    """Keeps what a parser delivers, with a copy of its payload; gives every `Data` a sink of its own; `written`: filled by calls."""

    def __init__(self, opened=True, written=False):
        self.written = written
        self.got = []
        self.sinks = []
        self.largest_given = 0
        self.parser = Parser(self.on_frame, self.sink)
        if opened:
            self.parser.open()

    def on_frame(self, frame, payload):
        if isinstance(frame, Data):
            assert payload is self.sinks[-1]
        self.got.append((frame, bytes(payload)))

    def sink(self, frame, nbytes):
        sink = memoryview(bytearray(nbytes))
        self.sinks.append(sink)

        def write(data, start):
            sink[start : start + len(data)] = data

        return Place(sink, write) if self.written else sink

    def feed(self, stream, sizes=()):
        """Give the parser `stream` in reads of at most these sizes, in turn."""
        stream = memoryview(stream)
        sizes = list(sizes) or [len(stream)]
        turn = 0
        while stream:
            room = self.parser.writable()
            assert len(room)
            count = min(len(room), sizes[turn % len(sizes)], len(stream))
            self.largest_given = max(self.largest_given, len(room))
            room[:count] = stream[:count]
            self.parser.received(count)
            stream = stream[count:]
            turn += 1


def wire(*frames):
    return b"".join(bytes(pack(frame, len(payload))) + payload for frame, payload in frames)


ids = st.lists(st.integers(0, 2**40), max_size=5)
jobs = st.text(max_size=8)


@st.composite
def values_frames(draw):
    payloads = draw(st.lists(st.binary(max_size=20), max_size=4))
    columns = [list(range(len(payloads)))] * 2
    return Values(draw(jobs), *columns, [len(each) for each in payloads]), b"".join(payloads)


@st.composite
def paired(draw, kind, columns):
    count = draw(st.integers(0, 4))
    return kind(draw(jobs), *([draw(st.integers(0, 99))] * count for _ in range(columns))), b""


counts = st.integers(0, 9)
frames = st.one_of(
    paired(Want, 2),
    paired(Offer, 3),
    paired(Grant, 2),
    st.tuples(st.builds(Relay, jobs, counts, st.text(max_size=9), st.text(max_size=9), counts, st.integers(1, 9)), st.just(b"")),
    st.tuples(st.builds(Unwant, jobs, ids) | st.builds(Grant, jobs, ids) | st.builds(Gone, jobs, ids), st.just(b"")),
    values_frames(),
    st.tuples(st.builds(Data, jobs, counts, counts, counts, counts), st.binary(max_size=300) | st.just(b"x" * 100_000)),
)


@given(st.lists(frames, max_size=12), st.lists(st.integers(1, 5000) | st.integers(1, 40), min_size=1, max_size=8), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_split_gives_the_same_frames(sent, sizes, written):
    owner = Owner(written=written)
    owner.feed(wire(*sent), sizes)
    assert owner.got == sent
    assert not owner.parser.in_frame


class PassingOwner(Owner):
    """Keeps no payload of a `Data`, but hands on what comes."""

    def on_frame(self, frame, payload):
        assert not (isinstance(frame, Data) and len(payload))
        self.got.append((frame, bytes(self.sinks[-1]) if isinstance(frame, Data) else bytes(payload)))

    def sink(self, frame, nbytes):
        passed = bytearray()
        self.sinks.append(passed)

        def write(data, start):
            assert start == len(passed)
            passed.extend(data)

        return Place(None, write)


@given(st.lists(frames, max_size=12), st.lists(st.integers(1, 5000) | st.integers(1, 40), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_any_split_gives_the_same_frames_whose_data_is_handed_on(sent, sizes):
    owner = PassingOwner()
    owner.feed(wire(*sent), sizes)
    assert owner.got == sent
    assert not owner.parser.in_frame


def test_byte_by_byte():
    sent = [(Want("j", [1], [0]), b""), (Data("j", 1, 0), b"abc"), (Values("j", [2, 3], [0, 0], [1, 2]), b"xyz"), (Data("j", 4, 0), b"")]
    owner = Owner()
    owner.feed(wire(*sent), [1])
    assert owner.got == sent


def test_many_small_frames_in_one_read():
    sent = [(Gone("j", [n]), b"") for n in range(5000)]
    owner = Owner()
    owner.feed(wire(*sent), [RECEIVE_BUFFER_BYTES])
    assert owner.got == sent
    assert owner.largest_given <= RECEIVE_BUFFER_BYTES


def test_data_is_received_in_place():
    """Once the header is there, the parser asks for the rest of the payload in the sink's own memory."""
    owner = Owner()
    payload = bytes(range(256)) * 8192
    stream = wire((Data("j", 7, 1), payload), (Gone("j", [1]), b""))
    owner.feed(stream[:100])
    sink = owner.sinks[0]
    assert bytes(sink[:10]) == payload[:10]
    room = owner.parser.writable()
    assert room.obj is sink.obj
    assert len(room) == len(payload) - (100 - (len(pack(Data("j", 7, 1), 1))))
    owner.feed(stream[100:], [1 << 20])
    assert owner.got == [(Data("j", 7, 1), payload), (Gone("j", [1]), b"")]


def test_data_is_written_where_the_sink_says_so():
    """It comes through a buffer that does not grow with it; and what comes next is received as ever."""
    owner = Owner(written=True)
    payload = bytes(range(256)) * (3 * PASSAGE_BYTES // 256) + b"end"
    values = Values("j", [1], [0], [1_000_000]), b"v" * 1_000_000
    owner.feed(wire((Data("j", 7, 1), payload), values, (Data("j", 8, 1), b"")), [PASSAGE_BYTES])
    assert owner.got == [(Data("j", 7, 1), payload), values, (Data("j", 8, 1), b"")]
    assert owner.largest_given <= PASSAGE_BYTES


def test_a_place_that_cannot_be_written_stops_the_parser():
    owner = Owner()

    def full(data, start):
        raise OSError("no room")

    parser = Parser(owner.on_frame, lambda frame, nbytes: Place(memoryview(bytearray(nbytes)), full))
    parser.open()
    stream = wire((Data("j", 7, 1), b"x" * 100))
    parser.writable()[: len(stream)] = stream
    with pytest.raises(OSError, match="no room"):
        parser.received(len(stream))
    assert not owner.got


def test_headers_and_values_larger_than_the_buffer():
    many = list(range(100_000))
    big = Values("j", [1, 2], [0, 0], [5_000_000, 3_000_000])
    sent = [(Want("j", many, many), b""), (big, b"v" * 8_000_000), (Gone("j", [1]), b"")]
    owner = Owner()
    owner.feed(wire(*sent), [300_000])
    assert owner.got == sent
    owner.feed(wire((Gone("j", [2]), b"")))
    assert len(owner.parser.writable()) <= RECEIVE_BUFFER_BYTES  # the larger memory is not kept


def test_handshake_frames_come_first_and_only_then():
    hello = Hello(1, "a", "host", 1, NONCE)
    sent = [(hello, b""), (Welcome(1, "b", "host", 2, NONCE, b"p"), b""), (Proof(b"q"), b"")]
    owner = Owner(opened=False)
    owner.feed(wire(*sent))
    assert owner.got == sent
    with pytest.raises(MalformedFrame, match="not a frame allowed at this point"):
        owner.feed(wire((Want("j", [1], [0]), b"")))
    with pytest.raises(MalformedFrame, match="not a frame allowed at this point"):
        Owner().feed(wire((hello, b"")))


def test_frames_right_behind_the_handshake():
    class Opens(Owner):
        def on_frame(self, frame, payload):
            super().on_frame(frame, payload)
            if isinstance(frame, Proof):
                self.parser.open()

    owner = Opens(opened=False)
    sent = [(Proof(b"p"), b""), (Want("j", [1], [0]), b""), (Data("j", 1, 0), b"d" * 5000)]
    owner.feed(wire(*sent), [1500])
    assert owner.got == sent


def test_stop_within_a_frame_takes_nothing_more():
    class Stops(Owner):
        def on_frame(self, frame, payload):
            super().on_frame(frame, payload)
            self.parser.stop()

    owner = Stops()
    owner.feed(wire((Gone("j", [1]), b""), (Gone("j", [2]), b"")))
    owner.feed(wire((Gone("j", [3]), b"")))
    assert owner.got == [(Gone("j", [1]), b"")]


def test_stop_lets_go_of_the_sink():
    owner = Owner()
    owner.feed(wire((Data("j", 1, 0), b"d" * 1000))[:200])
    sink = weakref.ref(owner.sinks.pop())
    assert sink() is not None
    owner.parser.stop()
    assert sink() is None


def raw(header, payload_bytes=0, length=None):
    return PREFIX.pack(len(header) if length is None else length, payload_bytes) + header


def packed(*items):
    return msgspec.msgpack.encode(items)


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (raw(b""), "header of 0 bytes"),
        (raw(b"x", length=MAX_HEADER_BYTES + 1), "header of 4194305 bytes"),
        (raw(b"\xc1"), "not a frame"),
        (raw(packed("nonsense", "j")), "not a frame"),
        (raw(packed("want", "j", [1])), "not a frame"),
        (raw(packed("want", "j", [1], ["x"])), "not a frame"),
        (raw(packed("want", "j", [-1], [0])), "not a frame"),
        (raw(packed("gone", "j", [1], b"\x91") + b"\x91"), "not a frame"),
        (raw(b"\x94\xa4gone\xa1j\x90" + b"\x91" * 100_000), "not a frame"),
        (raw(b"\x93\xa4gone\xa1j\xdd\xff\xff\xff\xff"), "not a frame"),
        (raw(packed("want", "j", [1], [0, 0])), "columns"),
        (raw(packed("offer", "j", [1], [0], [])), "columns"),
        (raw(packed("gone", "j", [1]), 5), "payload of 5 bytes instead of 0"),
        (raw(packed("values", "j", [1], [0], [4]), 5), "payload of 5 bytes instead of 4"),
        (raw(packed("values", "j", [1], [0], [MAX_VALUES_BYTES + 1]), MAX_VALUES_BYTES + 1), "more than 8388608"),
    ],
)
def test_malformed(stream, what):
    owner = Owner()
    with pytest.raises(MalformedFrame, match=what):
        owner.feed(stream)
    assert owner.got == []
    owner.feed(wire((Gone("j", [3]), b"")))
    assert owner.got == []  # it takes nothing more


def test_strangers_cannot_send_much():
    with pytest.raises(MalformedFrame, match=f"1 to {MAX_HANDSHAKE_BYTES} are allowed"):
        Owner(opened=False).feed(raw(b"x" * 8, length=MAX_HANDSHAKE_BYTES + 1))
    with pytest.raises(MalformedFrame, match="payload of 9 bytes instead of 0"):
        Owner(opened=False).feed(raw(packed("proof", b"p"), 9))
    with pytest.raises(MalformedFrame):
        Owner(opened=False).feed(raw(packed("hello", 1, "a", "host", 1, b"short", None)))


@pytest.mark.parametrize(
    ("frame", "nbytes", "what"),
    [
        (Want("j", [1], []), 0, "columns"),
        (Grant("j", [1, 2], [5]), 0, "columns"),
        (Values("j", [1], [0], [3]), 4, "instead of 3"),
        (Values("j", [1], [0], [2**24]), 2**24, "more than"),
        (Gone("j", [2**40] * 500_000), 0, "split it"),
        (Hello(1, "n" * 1000, "host", 1, NONCE), 0, "more than 1024"),
    ],
)
def test_what_would_be_refused_is_not_sent(frame, nbytes, what):
    with pytest.raises(MalformedFrame, match=what):
        pack(frame, nbytes)


STREAM = wire(
    (Want("job", [1, 2, 300], [0, 0, 1]), b""),
    (Values("job", [1, 2], [0, 0], [3, 4]), b"abcdefg"),
    (Data("job", 300, 1), b"p" * 50),
    (Offer("job", [5], [0], [10**9]), b""),
    (Relay("job", 5, "h1", "10.0.0.1:7000", 3, 2), b""),
    (Grant("job", [5], [1 << 20]), b""),
    (Data("job", 5, 0, 1 << 20, 10**9), b"q" * 50),
)


@given(st.data(), st.integers(1, 60))
@settings(max_examples=300, deadline=None)
def test_mutated_bytes_never_do_more_than_end_it(data, size):
    mutated = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))

    class Careful(Owner):
        def sink(self, frame, nbytes):
            if nbytes > 1000:
                raise MalformedFrame("not granted")
            return super().sink(frame, nbytes)

    owner = Careful()
    with contextlib.suppress(MalformedFrame):
        owner.feed(mutated[: data.draw(st.integers(0, len(mutated)))], [size])


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_noise_before_authentication(noise):
    owner = Owner(opened=False)
    with contextlib.suppress(MalformedFrame):
        owner.feed(noise, [100])
    assert owner.got == []
