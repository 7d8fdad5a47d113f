"""Ctrl-C is held back during clean-up."""

from __future__ import annotations

import signal
import threading

import pytest

from headrace.client.interrupts import interrupts_held


def test_it_is_noted_and_does_nothing_else() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_held() as held:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert held == [signal.SIGINT] * 2
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_is_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), interrupts_held():
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_other_threads_have_nothing_to_hold() -> None:
    seen: list[list[int]] = []

    def run() -> None:
        with interrupts_held() as held:
            seen.append(held)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [[]]
