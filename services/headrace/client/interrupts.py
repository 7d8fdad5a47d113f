"""Ctrl-C while something is being tidied up, which must not stop half-way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[list[int]]:
    """Within it Ctrl-C (SIGINT) does nothing but being noted in the list. For what takes seconds at most.

    Only the main thread hears of Ctrl-C, so in others there is nothing to hold; nor where a handler of another language is installed.
    """
    held: list[int] = []
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield held
        return
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
