"""Detects dead connections. Pure: every tick it gets a `Look`, and returns what to do.

TCP does not report that the other end is gone: it retransmits, after longer and longer pauses, for a quarter of an hour. Arriving messages
prove nothing, because the two directions of a connection fail separately. So if something that was sent is unanswered and no answer comes,
or if a feed is silent, the server gets a PING, which it answers after everything before it. No answer means that the connection is dead,
unless the socket is still sending what is queued before the PING: then the network is slow, and a new connection would have the same
problem.

Time is counted in ticks: an event loop that was busy for seconds gets one tick, and then reads the answers that have arrived.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from headrace.bus.settings import TIMES


class Look(NamedTuple):
    """The state of a connection.

    answers: answers and PONGs that arrived so far. queued: bytes that the other end's system has not taken yet. taken: bytes that it has
    taken so far, as far as this system knows. waiting: whether something that was sent is unanswered. silent: whether messages that are due
    do not arrive.
    """

    answers: int
    queued: int
    taken: int
    waiting: bool
    silent: bool = False


class Sign(enum.Enum):
    """The conclusion from a look."""

    ALIVE = enum.auto()
    ASK = enum.auto()
    """Send a PING."""
    DEAD = enum.auto()
    """Open another connection."""


class Liveness:
    """The watch over consecutive connections.

    A connection that dies without a single answer after its handshake may only have been slow: the next one gets twice the time. share: the
    factor of the usual times; less than 1 for a connection with few and small messages.
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
        """Start to watch a new connection."""
        self._silent = 0
        self._asked: int | None = None

    def tick(self, look: Look) -> Sign:
        """Count a tick on a connection whose handshake is done."""
        if look.answers != self._answers:
            self._answers = look.answers
            self._slow = False
            self.connected()
        elif self._asked is not None and look.queued and look.taken > self._taken:  # the PING is still being sent, slowly
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
