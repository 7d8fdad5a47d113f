"""Decides how long to wait for something that the cluster may restore. Pure: time arrives with each look."""

from __future__ import annotations


class Patience:
    """The waiting time: it is over after `seconds` without hope."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._seconds = seconds
        self._since: float | None = None

    def looked(self, now: float, *, hopeful: bool) -> None:
        """Record a look. hopeful: whether something arrived, or is about to."""
        if hopeful or self._since is None:
            self._since = now
        self.is_over = now - self._since > self._seconds
