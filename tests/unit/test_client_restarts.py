"""A local cluster restarts services that ended, and reports the reason when it gives up."""

from __future__ import annotations

import pytest

from headrace.client.local import last_words
from headrace.client.restarts import Restarts
from headrace.client.settings import SETTINGS


def test_the_first_restart_is_soon_and_each_that_follows_twice_as_late() -> None:
    restarts = Restarts()
    assert restarts.seconds_to_next(0.0) is None
    delays = []
    for _ in range(SETTINGS.restarts):
        assert restarts.ended("controller", 10.0)
        delays.append(restarts.seconds_to_next(10.0))
        assert restarts.take_due(10.0) == []
        assert restarts.take_due(15.0) == ["controller"]
    assert delays == [pytest.approx(SETTINGS.restart_seconds * 2**k) for k in range(SETTINGS.restarts)]


def test_after_so_many_within_a_while_it_is_given_up() -> None:
    restarts = Restarts()
    answers = [restarts.ended("controller", k * 1.0) for k in range(SETTINGS.restarts + 1)]
    assert answers == [True] * SETTINGS.restarts + [False]
    assert restarts.ends("controller") == SETTINGS.restarts + 1
    assert restarts.ended("scheduler", 6.0)


def test_what_was_long_ago_does_not_count() -> None:
    restarts = Restarts()
    for k in range(20):
        assert restarts.ended("host-0", k * (SETTINGS.restart_window_seconds / SETTINGS.restarts + 1))


def test_each_is_started_once_and_the_one_that_was_due_first_comes_first() -> None:
    restarts = Restarts()
    restarts.ended("scheduler", 1.0)
    restarts.ended("controller", 0.5)
    assert restarts.seconds_to_next(0.5) == pytest.approx(SETTINGS.restart_seconds)
    assert restarts.take_due(2.0) == ["controller", "scheduler"]
    assert restarts.take_due(2.0) == []
    assert restarts.seconds_to_next(2.0) is None


TEXT = """\
2026-01-01T00:00:00Z ERROR headrace.bus.process: the service ended with an error service=controller process=7
Traceback (most recent call last):
ValueError: what ended it
2026-01-01T00:00:01Z WARNING headrace.bus.wire: the connection has an error service=worker host=host-1 process=8
2026-01-01T00:00:01Z WARNING headrace.bus.wire: the connection has an error service=controllers process=8
{"event": "the service ended with an error", "service": "controller", "process": 9}
{"event": "a runner ended", "service": "worker", "host": "host-1"}
"""


@pytest.mark.parametrize(
    ("service", "lines"), [("controller", [0, 1, 2, 5]), ("host-1", [3, 6]), ("host-2", []), ("publisher", []), ("", [])]
)
def test_last_words_are_the_records_of_the_service_with_their_tracebacks(service: str, lines: list[int]) -> None:
    assert last_words(TEXT, service).splitlines() == [TEXT.splitlines()[k] for k in lines]
