"""The ordered consumer's pure half: whatever is lost on the way, every message is passed on once and in order."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.cursor import NEW, Cursor


class _Consumer:
    """What a server would deliver from a sequence on, of those that match."""

    def __init__(self, matching: list[int], start: int) -> None:
        self.waiting = [seq for seq in matching if seq >= start]
        self.total = len(self.waiting)
        self.sent = 0

    def deliver(self) -> tuple[int, int, int]:
        self.sent += 1
        return self.waiting.pop(0), self.sent, len(self.waiting)


@given(st.sets(st.integers(1, 60)), st.integers(1, 61), st.randoms(use_true_random=False), st.floats(0, 0.6))
def test_everything_once_and_in_order_whatever_is_lost(matching: set[int], start: int, chance: random.Random, loss: float) -> None:
    stream, passed = sorted(matching), []
    cursor = Cursor(start)
    expected = [seq for seq in stream if seq >= start]
    for _ in range(2000):
        cursor.opening()
        consumer = _Consumer(stream, cursor.start)
        cursor.opened(cursor.start - 1, 0, consumer.total)
        while consumer.waiting:
            delivery = consumer.deliver()
            if chance.random() < loss:
                continue
            if not cursor.advance(*delivery):
                break
            passed.append(delivery[0])
        else:
            if cursor.heartbeat(consumer.sent, stalled=False):
                break
    assert passed == expected
    assert cursor.caught_up
    assert cursor.last_seq == (expected[-1] if expected else start - 1)


@given(st.integers(0, 10), st.integers(0, 10))
def test_caught_up_exactly_when_what_was_there_has_come(before: int, after: int) -> None:
    cursor = Cursor(1)
    cursor.opening()
    cursor.opened(0, 0, before)
    for number in range(1, before + after + 1):
        assert cursor.caught_up == (number > before)
        assert cursor.advance(number, number, before + after - number + 5)
    assert cursor.caught_up


def test_messages_that_overtake_the_answer_count() -> None:
    cursor = Cursor(1)
    cursor.opening()
    assert cursor.advance(1, 1, 1)
    assert not cursor.caught_up
    assert cursor.advance(2, 2, 7)
    cursor.opened(2, 2, 0)
    assert cursor.caught_up


def test_only_new_ones_means_from_the_end_at_opening_also_after_a_gap() -> None:
    cursor = Cursor(NEW)
    assert cursor.start == NEW
    cursor.opening()
    cursor.opened(41, 0, 0)
    assert cursor.caught_up
    assert cursor.last_seq == 41
    assert not cursor.advance(43, 2, 0)
    assert cursor.start == 42


def test_a_heartbeat_tells_of_lost_messages_and_of_rest() -> None:
    cursor = Cursor(1)
    cursor.opening()
    assert cursor.heartbeat(0, stalled=False)
    assert not cursor.caught_up  # the server has not said how much there is
    cursor.opened(0, 0, 3)
    assert not cursor.heartbeat(1, stalled=False)
    assert cursor.advance(1, 1, 2)
    assert cursor.heartbeat(1, stalled=True)
    assert not cursor.caught_up  # it waits for us, not for messages
    assert cursor.heartbeat(1, stalled=False)  # the other two were removed from the stream
    assert cursor.caught_up
