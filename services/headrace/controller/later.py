"""What can wait a little, done together with other such things."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Action = Callable[[], object]


class Later:
    """Does things in their order, so many seconds after the first of them came up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Action] = []
        self._timer: asyncio.TimerHandle | None = None

    def do(self, *actions: Action) -> None:
        """Do this soon."""
        self._waiting.extend(actions)
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self.flush)

    def flush(self) -> None:
        """Do now whatever waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()
