"""Holds back Ctrl-C during clean-up, which must not stop half-way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[list[int]]:
    """Hold back Ctrl-C (SIGINT) inside the block, and record it in the list. For work that takes seconds at most.

    Only the main thread receives Ctrl-C, so in other threads this does nothing; nor does it where a handler of another language is
    installed.
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
