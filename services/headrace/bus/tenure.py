"""The holder's knowledge of its lease: until when no other process can have it, and how it was lost. Time arrives as a `Moment`.

The server counts a key's time to live from the moment at which it stored the key, which is after the moment at which the holder sent it. So
the key cannot have expired before `sent + ttl`, and until then the holder may act. After that the holder does not know: a late renewal may
still be stored. If it is, no other process had the lease meanwhile, because each renewal names the revision of the one before.

The holder reads two clocks, and the one that shows more time counts. If a machine was suspended, or a virtual one frozen, perhaps only one
of its clocks continued. Setting a wall clock forward costs at most the wait for a renewal.
"""

from __future__ import annotations

import enum
import time
from functools import partial
from typing import NamedTuple

RENEWALS = 3
"""Renewals in one time to live: two may fail before the lease is lost."""


class Moment(NamedTuple):
    """A time in seconds by two clocks, a steady one and the wall clock.

    The steady clock is never set. It counts while the machine is suspended, if the system has such a clock.
    """

    steady: float
    wall: float


def moment() -> Moment:
    """Return the present moment."""
    return Moment(steady(), wall())


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
steady = partial(time.clock_gettime, _CLOCK)
"""The steady clock of a `Moment`."""
wall = time.time
"""The wall clock of a `Moment`."""


class Loss(enum.Enum):
    """How a lease was lost."""

    LAPSED = "it was not renewed within its time to live"
    EXPIRED = "it expired at the server before it was renewed"
    TAKEN = "another process holds it"
    HUNG = "its holder hangs"


class Found(enum.Enum):
    """The value of the key after a renewal was refused."""

    NOTHING = enum.auto()
    OURS = enum.auto()
    ANOTHERS = enum.auto()


_LOSSES = {Found.NOTHING: Loss.EXPIRED, Found.ANOTHERS: Loss.TAKEN}


class Tenure:
    """The time from the acquisition of a lease to its loss. ttl: seconds. revision: of the last stored write. since: when that was sent.

    sure_until: before this moment, by both clocks, no other process can have the lease.
    lapses: whether the lease is lost as soon as it is no longer certain that it is held. This is right for a holder that must not act
    beside another one, and wrong for a holder that may continue until the server says that the lease is gone.
    """

    def __init__(self, ttl: float, revision: int, since: Moment, *, lapses: bool) -> None:
        self.revision = revision
        self.loss: Loss | None = None
        self._ttl = ttl
        self._every = ttl / RENEWALS
        self._lapses = lapses
        self._began(since, ttl)

    def _began(self, since: Moment, ttl: float) -> None:
        self._since, self._lasts = since, ttl
        self.sure_until = Moment(since.steady + ttl, since.wall + ttl)

    def seconds_left(self, now: Moment) -> float:
        """Return the seconds for which no other process can have the lease; zero or negative if one might."""
        return self._lasts - self._age(now)

    def seconds_to_renewal(self, now: Moment) -> float:
        """Return the seconds until the next renewal; zero or negative if it is due."""
        return self._every - self._age(now)

    def _age(self, now: Moment) -> float:
        return max(now.steady - self._since.steady, now.wall - self._since.wall)

    def is_held(self, now: Moment) -> bool:
        """Return whether its holder may act on the lease. Once this is False for a lease that lapses, it stays False."""
        if self.loss is None and self._lapses and self.seconds_left(now) <= 0:
            self.loss = Loss.LAPSED
        return self.loss is None

    def renewed(self, revision: int, sent: Moment, ttl: float = 0.0) -> None:
        """Note that a renewal was stored. ttl: how long it lasts, if longer than usual."""
        if self.loss is None:
            self.revision = revision
            self._began(sent, max(ttl, self._ttl))

    def refused(self, found: Found, revision: int) -> None:
        """Note that a renewal was refused.

        The found value may be an earlier renewal, whose acknowledgement was lost. When that one was sent is not known, so the next renewal
        is due at once.
        """
        if self.loss is None and found is Found.OURS:
            self.revision = revision
        elif self.loss is None:
            self.loss = _LOSSES[found]

    def end(self, loss: Loss) -> None:
        """Lose the lease, unless it is already lost."""
        self.loss = self.loss or loss

    @property
    def may_be_ours(self) -> bool:
        """Whether the key may still have the value that this holder wrote."""
        return self.loss in (None, Loss.LAPSED)
