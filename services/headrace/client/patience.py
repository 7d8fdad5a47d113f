"""How long to wait for something that the cluster may bring back. Pure: time arrives with each look."""

from __future__ import annotations


class Patience:
    """Seconds without hope after which waiting is over."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._seconds = seconds
        self._since: float | None = None

    def looked(self, now: float, *, hopeful: bool) -> None:
        """Look once. hopeful: whether something came, or is about to."""
        if hopeful or self._since is None:
            self._since = now
        self.is_over = now - self._since > self._seconds
