"""Delays actions to do them together, but in portions, so that other work does not have to wait for many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Action = Callable[[], object]
AT_ONCE = 8
"""Number of actions of a portion, such as the end of a small job. Each costs all services together some 0.2 ms of CPU: a hundred of them
would delay a client that submits at that moment."""
PAUSE = 0.01
"""Seconds until the next portion."""


def portion(waiting: int) -> int:
    """Return the size of the next portion: a quarter if many wait, so that their number does not grow without end."""
    return max(AT_ONCE, waiting // 4)


class Later:
    """A queue of actions that run in order, in portions.

    The first portion runs `seconds` after the first action was added, and further portions follow.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Action] = []
        self._timer: asyncio.TimerHandle | None = None

    def do(self, *actions: Action) -> None:
        """Add actions."""
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
        """Run all waiting actions now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()
