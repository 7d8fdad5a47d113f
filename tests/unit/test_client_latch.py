"""A latch wakes everybody who waits, and nobody before it is set."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from headrace.client.latch import Latch


def test_who_comes_later_does_not_wait() -> None:
    latch = Latch()
    assert not latch.is_set()
    latch.set()
    latch.set()
    assert latch.is_set()
    assert latch.wait()
    assert latch.wait(0)
    assert latch.wait(-1)


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 0.01])
def test_a_wait_ends_with_its_timeout(timeout: float) -> None:
    latch = Latch()
    assert not latch.wait(timeout)
    assert not latch.wait(timeout)
    latch.set()
    assert latch.wait(timeout)


@pytest.mark.parametrize("timeout", [None, 30.0, float("inf")])
def test_all_who_wait_are_woken(timeout: float | None) -> None:
    for _ in range(50):
        latch = Latch()
        woken: list[bool] = []
        threads = [threading.Thread(target=lambda latch=latch, woken=woken: woken.append(latch.wait(timeout))) for _ in range(8)]
        for thread in threads:
            thread.start()
        latch.set()
        for thread in threads:
            thread.join(30)
        assert woken == [True] * 8


def test_an_interrupt_ends_a_wait_and_takes_the_latch_from_nobody() -> None:
    latch = Latch()
    other = threading.Thread(target=latch.wait, daemon=True)
    other.start()
    timer = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    began = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        latch.wait(30)
    assert time.monotonic() - began < 20
    latch.set()
    other.join(30)
    assert not other.is_alive()
    assert latch.wait(30)
