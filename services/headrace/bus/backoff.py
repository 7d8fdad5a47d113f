"""The pauses before a feed is opened again: each is longer than the one before, so that many feeds do not overload a slow server.

Pure: time is counted in ticks, and the jitter follows from the feed's name, so that feeds that failed together do not retry together.
"""

from __future__ import annotations

import hashlib

from headrace.bus.settings import TIMES

_JITTER = 0.5
"""Largest share of a delay that is added to it as jitter."""
_FORGIVE = round(TIMES.forgive_seconds / TIMES.tick_seconds)
_FIRST = TIMES.reopen_seconds / TIMES.tick_seconds
_SILENCE = TIMES.heartbeat_seconds * TIMES.missed_heartbeats / TIMES.tick_seconds
_LONGEST = TIMES.longest_reopen_seconds / TIMES.tick_seconds


class Backoff:
    """The failures of one feed, which are forgotten after a while without another failure."""

    __slots__ = ("_failures", "_name", "_quiet")

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._failures = 0
        self._quiet = 0

    @property
    def silence(self) -> int:
        """Ticks of silence after which the feed has to be opened again."""
        return self._spread(min(_SILENCE * 2**self._failures, _LONGEST))

    def failed(self) -> int:
        """Count a failure: a message is missing, or the feed could not be opened.

        Returns the ticks to wait before the feed is opened again: 0 the first time.
        """
        self._failures = min(self._failures + 1, 16)
        self._quiet = 0
        return self._spread(min(_FIRST * 2 ** (self._failures - 1), _LONGEST)) if self._failures > 1 else 0

    def tick(self) -> None:
        """Count a tick."""
        self._quiet += 1
        if self._quiet >= _FORGIVE:
            self._failures = self._quiet = 0

    def _spread(self, ticks: float) -> int:
        digest = hashlib.blake2b(self._name + b"%d" % self._failures, digest_size=4).digest()
        share = int.from_bytes(digest) / 2**32
        return round(ticks * (1 + _JITTER * share)) if self._failures else round(ticks)
