"""Where a feed stands: the pure half of an ordered consumer.

A feed reads a stream through consumers of the server, one after the other. Each counts what it delivers from 1; as long as the count has no
gap, nothing is missing. At any gap the feed gives the consumer up and opens another at the last sequence it has passed on, plus one. So
what comes out is every matching message once, in order, whatever happens to connections and consumers.

The feed has caught up when everything that was in the stream at its first opening has been passed on: when the count reaches the number of
messages that the server reported then, or when the server says that nothing is left.
"""

from __future__ import annotations

NEW = 0
"""As a first sequence: only what is stored from now on."""


class Cursor:
    """State of a feed. `last_seq`: of the last message passed on, or before the first one."""

    __slots__ = ("_count", "_target", "caught_up", "last_seq")

    def __init__(self, from_seq: int) -> None:
        self.last_seq = max(from_seq - 1, -1)
        self.caught_up = False
        self._count = 0
        self._target = -1

    @property
    def start(self) -> int:
        """The sequence from which to open: NEW as long as it is not known where the end of the stream was."""
        return NEW if self.last_seq < 0 else self.last_seq + 1

    def opening(self) -> None:
        """A new consumer is being asked for: what it counts begins at 1."""
        self._count = 0
        self._target = -1

    def opened(self, last_seq: int, delivered: int, pending: int) -> int:
        """The server made the consumer: `delivered` messages sent already, `pending` to come; `last_seq`: the last sent or passed over.
        Returns how many have not come here yet."""
        self._target = delivered + pending
        if self.last_seq < 0:
            self.last_seq = last_seq
        self._look(1)
        return max(0, self._target - self._count)

    def advance(self, seq: int, count: int, pending: int) -> bool:
        """A message came. False if one before it is missing: then it must not be passed on, and the feed opened anew."""
        if count != self._count + 1:
            return False
        self._count = count
        self.last_seq = seq
        if not self.caught_up:
            self._look(pending)
        return True

    def heartbeat(self, count: int, stalled: bool) -> bool:
        """The server is idle after `count` messages. False if one of them has not come."""
        if count > self._count:
            return False
        if not stalled and not self.caught_up and self._target >= 0:
            self._look(0)
        return True

    def _look(self, pending: int) -> None:
        self.caught_up = self.caught_up or pending == 0 or 0 <= self._target <= self._count
