"""What can wait a little, done together with other such things, but never so many at once that others have to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Action = Callable[[], object]
AT_ONCE = 8
"""Small jobs whose ends, or entries, are written at once. Each costs all services together some 0.2 ms of CPU: a hundred would hold up
whoever submits just then."""
PAUSE = 0.01
"""Seconds until the next ones."""


def portion(waiting: int) -> int:
    """How many of those that wait to do now: a quarter where they are many, so that they never become more and more."""
    return max(AT_ONCE, waiting // 4)


class Later:
    """Does things in their order, so many seconds after the first of them came up, and in portions from then on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Action] = []
        self._timer: asyncio.TimerHandle | None = None

    def do(self, *actions: Action) -> None:
        """Do this soon."""
        self._waiting.extend(actions)
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._some)

    def _some(self) -> None:
        count = portion(len(self._waiting))
        now, self._waiting = self._waiting[:count], self._waiting[count:]
        self._timer = self._loop.call_later(PAUSE, self._some) if self._waiting else None
        for action in now:
            action()

    def flush(self) -> None:
        """Do now whatever waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()
