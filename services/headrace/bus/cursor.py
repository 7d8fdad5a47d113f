"""The position of a feed: the pure half of an ordered consumer.

A feed reads a stream through consumers of the server, one after the other. Each consumer counts what it delivers from 1; as long as the
count has no gap, nothing is missing. At a gap the feed drops the consumer and opens another one, after the last sequence that it has passed
on. So the feed passes on every matching message once, in order, whatever happens to connections and consumers.

The feed has caught up when it has passed on everything that was in the stream at its first opening: when the count reaches the number of
messages that the server reported then, or when the server says that nothing is left.
"""

from __future__ import annotations

NEW = 0
"""As a first sequence: only messages that are stored from now on."""


class Cursor:
    """The position of a feed. last_seq: sequence of the last message passed on, or the one before the first message."""

    __slots__ = ("_count", "_target", "caught_up", "last_seq")

    def __init__(self, from_seq: int) -> None:
        self.last_seq = max(from_seq - 1, -1)
        self.caught_up = False
        self._count = 0
        self._target = -1

    @property
    def start(self) -> int:
        """The sequence from which to open the feed: NEW as long as the end of the stream is unknown."""
        return NEW if self.last_seq < 0 else self.last_seq + 1

    def opening(self) -> None:
        """Note that a new consumer is requested, whose count begins at 1."""
        self._count = 0
        self._target = -1

    def opened(self, last_seq: int, delivered: int, pending: int) -> int:
        """Note that the server made the consumer. Returns the number of messages that have not arrived yet.

        delivered: messages already sent. pending: messages to come. last_seq: the sequence of the last message that was sent or skipped.
        """
        self._target = delivered + pending
        if self.last_seq < 0:
            self.last_seq = last_seq
        self._look(1)
        return max(0, self._target - self._count)

    def advance(self, seq: int, count: int, pending: int) -> bool:
        """Note that a message arrived. Returns False if one before it is missing; then do not pass it on, and open the feed again."""
        if count != self._count + 1:
            return False
        self._count = count
        self.last_seq = seq
        if not self.caught_up:
            self._look(pending)
        return True

    def heartbeat(self, count: int, stalled: bool) -> bool:
        """Note that the server is idle after `count` messages. Returns False if one of them has not arrived."""
        if count > self._count:
            return False
        if not stalled and not self.caught_up and self._target >= 0:
            self._look(0)
        return True

    def _look(self, pending: int) -> None:
        self.caught_up = self.caught_up or pending == 0 or 0 <= self._target <= self._count
