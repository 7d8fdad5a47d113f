"""What a caller's thread waits for while the connection's thread works for it."""

from __future__ import annotations

import threading


class Latch:
    """`threading.Event` without `clear`, in a tenth of its steps: it is set once, by one thread, and any number wait for it.

    Its lock is held until it is set, and then passed from one that waits to the next.
    """

    __slots__ = ("_is_set", "_lock")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Wake whoever waits, now and later. Only by the thread whose matter it is."""
        if not self._is_set:
            self._is_set = True
            self._pass_on()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is set, or for so many seconds. Returns whether it was."""
        if self._is_set:
            return True
        try:
            if timeout is None:
                self._lock.acquire()
            else:
                self._lock.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX))
        finally:  # also where a Ctrl-C came just when it had been acquired: then the others still get it
            if self._is_set:
                self._pass_on()
        return self._is_set

    def _pass_on(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # somebody else did, who saw that it is set before it was acquired here
            return
