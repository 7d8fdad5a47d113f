"""Whether a connection still takes what is sent on it. Pure: a `Look` goes in every tick, and what to do comes out.

TCP tells nobody that the other end is gone: it sends again, after longer and longer pauses, for a quarter of an hour. Messages that still
arrive prove nothing: the two directions of a connection fail separately. So while something that was sent here is unanswered and no answer
comes, or a feed is silent, the server gets a PING, which it answers after everything that came before it. No answer means that the
connection is dead, unless the socket still gets rid of what is queued before the PING: then the way is slow, and a new connection would
begin the same again.

Time is counted in ticks: an event loop that was busy for seconds gets one tick, and then reads the answers that are there.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from headrace.bus.settings import TIMES


class Look(NamedTuple):
    """What a connection looks like.

    answers: answers and PONGs that came so far. queued: bytes that the other end's system has not taken yet. taken: bytes that it has taken
    so far, as far as this system tells. waiting: whether something that was sent is unanswered. silent: whether messages that are due do
    not come.
    """

    answers: int
    queued: int
    taken: int
    waiting: bool
    silent: bool = False


class Sign(enum.Enum):
    """What a look shows."""

    ALIVE = enum.auto()
    ASK = enum.auto()
    """Send a PING."""
    DEAD = enum.auto()
    """Open another connection."""


class Liveness:
    """Watches one connection after the other. share: of the usual times; less for a connection with few and small messages.

    A connection that dies without a single answer after its handshake was perhaps only slow: the next one gets twice the time.
    """

    __slots__ = ("_answers", "_asked", "_share", "_silent", "_slow", "_taken")

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._slow = False
        self._answers = 0
        self._taken = 0
        self.connected()

    @property
    def is_asking(self) -> bool:
        """Whether a PING is unanswered."""
        return self._asked is not None

    def connected(self) -> None:
        """There is a new connection: nothing is known of it."""
        self._silent = 0
        self._asked: int | None = None

    def tick(self, look: Look) -> Sign:
        """Time went by, on a connection that its handshake has opened."""
        if look.answers != self._answers:
            self._answers = look.answers
            self._slow = False
            self.connected()
        elif self._asked is not None and look.queued and look.taken > self._taken:  # the PING is on its way, slowly
            self._asked = 0
        self._taken = look.taken
        return self._ask(look) if self._asked is None else self._judge(self._asked + 1)

    def _ask(self, look: Look) -> Sign:
        self._silent = self._silent + 1 if look.waiting else 0
        if self._silent < self._ticks(TIMES.ping_after_seconds) and not look.silent:
            return Sign.ALIVE
        self._asked = 0
        return Sign.ASK

    def _judge(self, asked: int) -> Sign:
        self._asked = asked
        if asked < self._ticks(TIMES.pong_seconds) * (2 if self._slow else 1):
            return Sign.ALIVE
        self._slow = True
        self.connected()
        return Sign.DEAD

    def _ticks(self, seconds: float) -> int:
        return max(1, round(seconds * self._share / TIMES.tick_seconds))
