"""The event that a caller's thread waits for while the connection's thread works for it."""

from __future__ import annotations

import threading


class Latch:
    """A `threading.Event` without `clear`, ten times as fast: one thread sets it once, and any number of threads wait for it.

    Its lock is held until it is set, and then passed from one waiting thread to the next.
    """

    __slots__ = ("_is_set", "_lock")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def is_set(self) -> bool:
        """Return whether the latch was set."""
        return self._is_set

    def set(self) -> None:
        """Wake all present and future waiters. Only the owning thread may call this."""
        if not self._is_set:
            self._is_set = True
            self._pass_on()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the latch is set, or for `timeout` seconds. Returns whether it was set."""
        if self._is_set:
            return True
        try:
            if timeout is None:
                self._lock.acquire()
            else:
                self._lock.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX))
        finally:  # also if Ctrl-C arrived just after it was acquired, so that the others still get it
            if self._is_set:
                self._pass_on()
        return self._is_set

    def _pass_on(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # another thread released it first, because it saw that the latch is set
            return


class Waiter:
    """An event that is set when a dataset is available, or when the job is over without it."""

    def __init__(self, dataset: int) -> None:
        self.dataset = dataset
        self.event = Latch()
