"""The detection that NATS stores nothing."""

from __future__ import annotations

from headrace.bus.settings import TIMES
from headrace.bus.storing import Storing

NEEDED = round(TIMES.store_seconds / TIMES.tick_seconds)


def after(storing: Storing, *oldest: int) -> float:
    for number in oldest:
        storing.tick(number)
    return storing.overdue


def test_a_message_without_an_answer_is_told_of_after_three_seconds_and_until_it_is_answered() -> None:
    storing = Storing()
    assert after(storing, *[7] * NEEDED) == 0
    assert after(storing, 7) == TIMES.store_seconds
    assert after(storing, *[7] * 4) == TIMES.store_seconds + 4 * TIMES.tick_seconds
    storing.answered()
    assert after(storing, 8) == 0


def test_that_it_is_given_up_says_nothing_of_the_server() -> None:
    storing = Storing()
    assert after(storing, *[7] * (NEEDED + 1)) == TIMES.store_seconds
    assert after(storing, 0, 0, 9) == TIMES.store_seconds + 3 * TIMES.tick_seconds
    storing.answered()
    assert after(storing, 0) == 0


def test_a_stream_of_messages_is_no_reason_however_long_it_lasts() -> None:
    assert after(Storing(), *[number // 3 for number in range(3, 1000)]) == 0


def test_an_answer_that_names_another_reason_is_none() -> None:
    storing = Storing()
    for _ in range(10):
        assert after(storing, *[7] * (NEEDED - 1)) == 0
        storing.answered()


def test_leases_are_told_of_sooner() -> None:
    assert after(Storing(TIMES.lease_share), *[7] * (1 + NEEDED // 2)) > 0
