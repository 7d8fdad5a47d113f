"""When a service of a local cluster that ended by itself is started again, and when that is given up. Pure: time arrives as an argument."""

from __future__ import annotations

from collections import defaultdict, deque

TRIES = 5
"""Restarts of one service within `WINDOW`. One that ends again and again has a reason that another start does not take away."""
WINDOW = 60.0
"""Seconds. A service that was killed once an hour, by whatever, is started again for as long as the cluster lives."""
FIRST_DELAY = 0.1
"""Seconds until the first restart; doubled with each that follows within `WINDOW`, so that whatever was in its way may pass."""


class Restarts:
    """What was started again, and how often."""

    def __init__(self) -> None:
        self._ends: defaultdict[str, deque[float]] = defaultdict(deque)
        self._due: dict[str, float] = {}

    def ended(self, service: str, now: float) -> bool:
        """A service ended. Whether it is started again: then it is among those that are `due` some time later."""
        ends = self._ends[service]
        while ends and now - ends[0] > WINDOW:
            ends.popleft()
        ends.append(now)
        if len(ends) > TRIES:
            return False
        self._due[service] = now + FIRST_DELAY * 2 ** (len(ends) - 1)
        return True

    def ends(self, service: str) -> int:
        """How often it ended within the last `WINDOW` seconds."""
        return len(self._ends[service])

    def seconds_to_next(self, now: float) -> float | None:
        """Seconds until a service is due; None if none waits."""
        return max(0.0, min(self._due.values()) - now) if self._due else None

    def take_due(self, now: float) -> list[str]:
        """The services to be started now, the one that has waited longest first. Each is named once."""
        due = sorted((when, service) for service, when in self._due.items() if when <= now)
        for _, service in due:
            del self._due[service]
        return [service for _, service in due]
