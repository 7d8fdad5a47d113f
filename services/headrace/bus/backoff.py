"""How long a feed waits before it is opened again: longer each time, so that many feeds do not wear down a server that is slow.

Pure: time is counted in ticks, and the jitter follows from the feed's name, so that feeds which failed together do not come back together.
"""

from __future__ import annotations

import hashlib

from headrace.bus.settings import TIMES

_JITTER = 0.5
"""Up to this share of a delay is added to it."""
_FORGIVE = round(TIMES.forgive_seconds / TIMES.tick_seconds)
_FIRST = TIMES.reopen_seconds / TIMES.tick_seconds
_SILENCE = TIMES.heartbeat_seconds * TIMES.missed_heartbeats / TIMES.tick_seconds
_LONGEST = TIMES.longest_reopen_seconds / TIMES.tick_seconds


class Backoff:
    """The failures of one feed, which are forgotten after a while without a failure."""

    __slots__ = ("_failures", "_name", "_quiet")

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._failures = 0
        self._quiet = 0

    @property
    def silence(self) -> int:
        """Ticks of silence after which the feed is to be opened again."""
        return self._spread(min(_SILENCE * 2**self._failures, _LONGEST))

    def failed(self) -> int:
        """Something is missing, or the feed could not be opened. Returns the ticks to wait for before it is opened again: none the first
        time."""
        self._failures = min(self._failures + 1, 16)
        self._quiet = 0
        return self._spread(min(_FIRST * 2 ** (self._failures - 1), _LONGEST)) if self._failures > 1 else 0

    def tick(self) -> None:
        """Time went by."""
        self._quiet += 1
        if self._quiet >= _FORGIVE:
            self._failures = self._quiet = 0

    def _spread(self, ticks: float) -> int:
        digest = hashlib.blake2b(self._name + b"%d" % self._failures, digest_size=4).digest()
        share = int.from_bytes(digest) / 2**32
        return round(ticks * (1 + _JITTER * share)) if self._failures else round(ticks)
