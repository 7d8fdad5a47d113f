"""Connections that count as dead, and those that are only slow."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.liveness import Liveness, Look, Sign
from headrace.bus.settings import TIMES

ASK_TICKS = round(TIMES.ping_after_seconds / TIMES.tick_seconds)
DEAD_TICKS = ASK_TICKS + round(TIMES.pong_seconds / TIMES.tick_seconds)


def look(answers: int = 0, queued: int = 0, taken: int = 0, waiting: bool = True, silent: bool = False) -> Look:
    return Look(answers, queued, taken, waiting, silent)


def signs(liveness: Liveness, *looks: Look) -> list[Sign]:
    return [liveness.tick(each) for each in looks]


def ticks_to(sign: Sign, liveness: Liveness, each: Look) -> int:
    return next(n for n in count(1) if liveness.tick(each) is sign)


def test_what_is_unanswered_is_asked_about_and_then_given_up() -> None:
    found = signs(Liveness(), *[look(queued=12_000_000)] * DEAD_TICKS)
    assert found.index(Sign.ASK) == ASK_TICKS - 1
    assert found.index(Sign.DEAD) == DEAD_TICKS - 1
    assert {*found} == {Sign.ALIVE, Sign.ASK, Sign.DEAD}


def test_all_of_that_takes_less_than_five_seconds() -> None:
    assert DEAD_TICKS * TIMES.tick_seconds < 5
    assert (ticks_to(Sign.ASK, Liveness(), look(silent=True)) + DEAD_TICKS - ASK_TICKS) * TIMES.tick_seconds < 3


def test_a_connection_that_rests_is_left_alone() -> None:
    assert {*signs(Liveness(), *[look(waiting=False)] * 1000)} == {Sign.ALIVE}


def test_answers_keep_it_alive() -> None:
    assert {*signs(Liveness(), *[look(answers=n // 3) for n in range(1000)])} == {Sign.ALIVE}


def test_a_pong_keeps_it_alive_however_long_the_answer_takes() -> None:
    liveness, pongs = Liveness(), 0
    for _ in range(1000):
        sign = liveness.tick(look(answers=pongs))
        assert sign is not Sign.DEAD
        pongs += sign is Sign.ASK


def test_a_slow_way_is_not_a_dead_one() -> None:
    slow = [look(queued=12_000_000 - n, taken=n) for n in range(1000)]
    assert Sign.DEAD not in signs(Liveness(), *slow)


def test_what_the_other_system_took_does_not_count_once_nothing_is_queued() -> None:
    """It takes every PING and every message that is sent again, also if the server behind it reads none."""
    assert Sign.DEAD in signs(Liveness(), *[look(taken=n) for n in range(DEAD_TICKS)])


def test_the_next_connection_gets_twice_the_time_until_an_answer_comes() -> None:
    liveness = Liveness()
    first = ticks_to(Sign.DEAD, liveness, look())
    again = [ticks_to(Sign.DEAD, liveness, look()) for _ in range(3)]
    assert again == [2 * first - ASK_TICKS] * 3
    assert again[0] * TIMES.tick_seconds < 10
    liveness.tick(look(answers=1, waiting=False))
    assert ticks_to(Sign.DEAD, liveness, look(answers=1)) == first


def test_the_connection_of_leases_is_given_up_sooner() -> None:
    assert ticks_to(Sign.DEAD, Liveness(TIMES.lease_share), look()) <= DEAD_TICKS * TIMES.lease_share


@pytest.mark.parametrize("share", [1.0, TIMES.lease_share])
@given(looks=st.lists(st.builds(look, st.integers(0, 3), st.integers(0, 2), st.integers(0, 3), st.booleans(), st.booleans())))
def test_nothing_is_dead_that_was_not_asked(share: float, looks: list[Look]) -> None:
    liveness, asked = Liveness(share), False
    for each in looks:
        sign = liveness.tick(each)
        assert asked or sign is not Sign.DEAD
        asked = sign is Sign.ASK or (asked and sign is Sign.ALIVE)
