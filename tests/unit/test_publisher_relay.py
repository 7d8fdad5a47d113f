"""A fetch through the publisher, without a socket: everything arrives, in little memory, and missing datasets are reported as gone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.client.relayed import Assembly
from headrace.errors import ClusterFailed
from headrace.link import Data, Frame, Gone, Grant, Offer, Unwant, Values, Want
from headrace.publisher.relay import END, NOTHING_YET, Relay
from headrace.publisher.settings import FetchLimits
from headrace_schemas.fetching import GONE, HEADER

LIMITS = FetchLimits(piece_bytes=10, pieces=3)
EMPTY = memoryview(b"")


class Host:
    """The other end of the relay's link: has some datasets, and loses some. Small ones go at once, as hosts send them."""

    def __init__(self, relay: Relay, values: dict[int, bytes], rng: random.Random) -> None:
        self.relay, self.values, self.rng = relay, values, rng
        self.grants: list[int] = []
        self.sending: tuple[Data, bytes, int] | None = None
        want = relay.first_message()
        assert isinstance(want, Want)
        small = [d for d in want.datasets if d in values and len(values[d]) < 8]
        large = [d for d in want.datasets if d in values and len(values[d]) >= 8]
        payload = b"".join(values[d] for d in small)
        self.say(Values("j", small, [0] * len(small), [len(values[d]) for d in small]), memoryview(payload))
        self.say(Gone("j", [d for d in want.datasets if d not in values]))
        self.say(Offer("j", large, [0] * len(large), [len(values[d]) for d in large]))

    def say(self, frame: Frame, payload: memoryview = EMPTY) -> None:
        grant = self.relay.frame(frame, payload)
        if grant is not None:
            assert isinstance(grant, Grant)
            self.grants += grant.datasets
            assert len(grant.datasets) == 1

    def step(self) -> bool:
        """Send the next bytes, unless the relay is full. False if there is nothing to send."""
        if self.sending is None:
            if not self.grants:
                return False
            frame = Data("j", self.grants.pop(0), 0)
            self.sending = frame, self.values[frame.dataset], 0
            assert self.relay.expects(frame, len(self.sending[1]))
        frame, value, start = self.sending
        data = value[start : start + self.rng.randrange(1, 30)]
        self.relay.write(memoryview(data), start)
        self.sending = frame, value, start + len(data)
        if start + len(data) == len(value):
            self.sending = None
            self.say(frame)
        return True


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.integers(0, 20), st.binary(max_size=70), max_size=8), st.sets(st.integers(0, 20)), st.randoms(use_true_random=False)
)
def test_every_dataset_arrives_whole_or_is_said_to_be_gone(values: dict[int, bytes], others: set[int], rng: random.Random) -> None:
    wanted = dict.fromkeys([*values, *others], 0)
    relay = Relay("j", wanted, LIMITS)
    host, assembly = Host(relay, values, rng), Assembly(wanted)
    pieces: list[bytes] = []
    while not assembly.over:
        if rng.random() < 0.5 and not relay.full:
            host.step()
        elif (piece := relay.take_piece()) is not None:
            pieces.append(bytes(piece))
        if pieces and rng.random() < 0.5:
            assembly.add_piece(pieces.pop(rng.randrange(len(pieces))))
        assert len(relay._pieces) <= LIMITS.pieces + len(wanted) + 3
    for piece in pieces:
        assembly.add_piece(piece)
    assert {dataset: bytes(value) for dataset, value in assembly.values.items()} == values
    assert relay.over
    assert relay.take_piece() == END


def test_one_dataset_is_granted_at_a_time_and_reading_pauses_when_nobody_asks() -> None:
    relay = Relay("j", {1: 0, 2: 5}, LIMITS)
    host = Host(relay, {1: b"a" * 25, 2: b"b" * 100}, random.Random(0))
    assert host.grants == [1]
    while not relay.full:
        host.step()
    assert HEADER.unpack_from(relay.take_piece() or b"") == (1, 25, 0)
    assert not relay.full


def test_a_link_that_breaks_loses_what_had_not_come() -> None:
    relay = Relay("j", {1: 0, 2: 0}, LIMITS)
    host = Host(relay, {1: b"a" * 100, 2: b"b" * 100}, random.Random(0))
    host.step()
    relay.closed()
    assembly = Assembly({1: 0, 2: 0})
    while piece := relay.take_piece():
        assembly.add_piece(bytes(piece))
    assert assembly.over
    assert assembly.values == {}


def test_what_was_not_granted_or_may_not_come_is_refused() -> None:
    relay = Relay("j", {1: 0}, LIMITS)
    assert not relay.expects(Data("j", 1, 0), 10)
    relay.frame(Offer("j", [1, 7], [0, 0], [10, 10]), EMPTY)
    assert not relay.expects(Data("j", 7, 0), 10)
    assert relay.expects(Data("j", 1, 0), 10)
    with pytest.raises(ValueError, match="did not request it"):
        relay.frame(Unwant("j", [1]), EMPTY)


def test_a_question_without_an_answer_changes_nothing() -> None:
    assembly = Assembly({1: 0})
    assembly.add_piece(NOTHING_YET)
    assert not assembly.over
    assembly.add_piece(END)
    assert assembly.over


@pytest.mark.parametrize(
    "pieces",
    [[(1, 10, 8, 5)], [(1, 10, -1, 5)], [(2, 10, 0, 5)], [(1, 10, 0, 5), (1, 11, 5, 5)], [(1, 10, 0, 8), (1, 10, 0, 8)], [(1, -7, 0, 0)]],
)
def test_pieces_that_do_not_fit_are_refused(pieces: list[tuple[int, int, int, int]]) -> None:
    *before, last = [HEADER.pack(dataset, total, offset) + bytes(length) for dataset, total, offset, length in pieces]
    assembly = Assembly({1: 0, 3: 0})
    for piece in before:
        assembly.add_piece(piece)
    with pytest.raises(ClusterFailed, match="does not fit"):
        assembly.add_piece(last)


def test_an_empty_value_is_a_value() -> None:
    assembly = Assembly({1: 0, 2: 0})
    assembly.add_piece(HEADER.pack(1, 0, 0))
    assembly.add_piece(HEADER.pack(2, GONE, 0))
    assert assembly.over
    assert assembly.values.keys() == {1}
