"""A failing feed is opened again after longer and longer pauses, and not at the same moment as others."""

from __future__ import annotations

from itertools import pairwise

from headrace.bus.backoff import Backoff
from headrace.bus.settings import TIMES

LONGEST = 1.5 * TIMES.longest_reopen_seconds / TIMES.tick_seconds
"""With its jitter."""


def test_the_first_time_is_at_once_and_each_further_one_later_up_to_a_limit() -> None:
    backoff = Backoff("a")
    delays = [backoff.failed() for _ in range(12)]
    assert delays[0] == 0
    assert all(before < after for before, after in pairwise(delays[1:7]))
    assert max(delays) <= LONGEST
    assert min(delays[8:]) >= TIMES.longest_reopen_seconds / TIMES.tick_seconds


def test_silence_is_borne_longer_after_each_failure() -> None:
    backoff = Backoff("a")
    silences = [backoff.silence]
    for _ in range(8):
        backoff.failed()
        silences.append(backoff.silence)
    assert silences[0] == TIMES.heartbeat_seconds * TIMES.missed_heartbeats / TIMES.tick_seconds
    assert all(before < after for before, after in pairwise(silences[:4]))
    assert max(silences) <= LONGEST


def test_feeds_that_fail_together_do_not_come_back_together_and_each_repeats_itself() -> None:
    def tenth(name: str) -> int:
        backoff = Backoff(name)
        return [backoff.failed() for _ in range(10)][-1]

    assert len({tenth(f"feed-{number}") for number in range(20)}) > 10
    assert tenth("feed-1") == tenth("feed-1")


def test_trouble_is_forgotten_after_a_quiet_time() -> None:
    backoff = Backoff("a")
    for _ in range(5):
        backoff.failed()
    for _ in range(round(TIMES.forgive_seconds / TIMES.tick_seconds)):
        backoff.tick()
    assert backoff.failed() == 0
