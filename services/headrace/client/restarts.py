"""Decides when a local cluster restarts a service that ended by itself, and when it gives up. Pure: time arrives as an argument."""

from __future__ import annotations

from collections import defaultdict, deque

from headrace.client.settings import SETTINGS


class Restarts:
    """The restarts of all services."""

    def __init__(self) -> None:
        self._ends: defaultdict[str, deque[float]] = defaultdict(deque)
        self._due: dict[str, float] = {}

    def ended(self, service: str, now: float) -> bool:
        """Note that a service ended. Returns whether to restart it; if so, `take_due` returns it after a pause."""
        ends = self._ends[service]
        while ends and now - ends[0] > SETTINGS.restart_window_seconds:
            ends.popleft()
        ends.append(now)
        if len(ends) > SETTINGS.restarts:
            return False
        self._due[service] = now + SETTINGS.restart_seconds * 2 ** (len(ends) - 1)
        return True

    def ends(self, service: str) -> int:
        """Return how often a service ended within the last `Settings.restart_window_seconds`."""
        return len(self._ends[service])

    def seconds_to_next(self, now: float) -> float | None:
        """Return the seconds until a service is due; None if none waits."""
        return max(0.0, min(self._due.values()) - now) if self._due else None

    def take_due(self, now: float) -> list[str]:
        """Return the services to restart now, the one that has waited longest first. Each is returned once."""
        due = sorted((when, service) for service, when in self._due.items() if when <= now)
        for _, service in due:
            del self._due[service]
        return [service for _, service in due]
