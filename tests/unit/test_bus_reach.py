"""A feed that is behind reads the whole stream, and its own subjects again once it has been at the end for a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.memory import matches
from headrace.bus.reach import BEHIND, Reach, matcher

FAR = BEHIND + 1
A_MINUTE = 240
"""Ticks."""


def _ticks(reach: Reach, count: int) -> int:
    """After how many ticks the reach changes; -1 if it does not within `count`."""
    return next((number for number in range(1, count + 1) if reach.tick()), -1)


def test_a_feed_that_keeps_up_reads_its_own_subjects() -> None:
    reach = Reach(may=True)
    assert not reach.opened(0)
    for pending in (0, BEHIND, 3):
        reach.pending = pending
        assert _ticks(reach, A_MINUTE) == -1
    assert not reach.whole


def test_a_feed_that_opens_far_from_the_end_reads_everything_at_once() -> None:
    reach = Reach(may=True)
    assert reach.opened(FAR)
    assert reach.whole


def test_a_feed_that_stays_behind_reads_everything_and_a_short_burst_changes_nothing() -> None:
    reach = Reach(may=True)
    reach.pending = FAR
    assert not reach.tick()
    reach.pending = 0
    assert not reach.tick()
    reach.pending = FAR
    assert _ticks(reach, 9) == 2
    assert reach.whole


def test_a_feed_reads_its_own_subjects_again_when_it_has_been_at_the_end_for_a_while_each_time_later() -> None:
    reach, waits = Reach(may=True), []
    for _ in range(7):
        assert reach.opened(FAR)
        assert _ticks(reach, A_MINUTE) == -1, "it is behind"
        reach.pending = 0
        waits.append(_ticks(reach, A_MINUTE))
        assert not reach.whole
    assert waits == [8, 16, 32, 64, 128, 240, 240]


def test_a_feed_that_may_not_reads_its_own_subjects_however_far_behind_it_is() -> None:
    reach = Reach(may=False)
    assert not reach.opened(FAR)
    assert _ticks(reach, A_MINUTE) == -1


_token = st.sampled_from(["headrace", "job", "a-1", "b_2", "state"])
_subject = st.lists(_token, min_size=1, max_size=5).map(".".join)
_pattern = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(st.one_of(_token, st.just("*")), min_size=1, max_size=4),
    st.sampled_from([[], [">"]]),
)


@given(st.lists(_pattern, min_size=1, max_size=3), _subject)
def test_subjects_match_as_they_do_at_the_server(patterns: list[str], subject: str) -> None:
    assert bool(matcher(patterns)(subject.encode())) == any(matches(pattern, subject) for pattern in patterns)


@pytest.mark.parametrize("subject", ["headrace.job.a.state", "headrace.job.b.submitted"])
def test_a_dot_of_a_pattern_is_a_dot(subject: str) -> None:
    assert matcher(["headrace.job.>"])(subject.encode())
    assert not matcher(["headrace.job.>"])(subject.replace(".", "-").encode())
