"""What the holder of a lease knows of it: until when nobody else can have it, and how it was lost. Pure: time arrives as a `Moment`.

The server counts a key's time to live from the moment at which it stored the key, which is after the moment at which the holder sent it.
So up to `sent + ttl` the key cannot have expired, and the holder may act. After that the holder does not know: a renewal that is late may
still be stored, and then nobody else had the lease meanwhile, for each renewal names the revision of the one before.

Two clocks are looked at, and the one that says more counts. A machine that was suspended, or a virtual one that was frozen, may find that
only one of them went on. A wall clock that is set forward costs a renewal's wait at worst.
"""

from __future__ import annotations

import enum
import time
from functools import partial
from typing import NamedTuple

RENEWALS = 3
"""Renewals tried in one time to live: two may fail before the lease is lost."""


class Moment(NamedTuple):
    """Seconds by two clocks: one that is never set, and counts while the machine is suspended where the system has such a clock; and the
    wall clock."""

    steady: float
    wall: float


def moment() -> Moment:
    """The present moment."""
    return Moment(steady(), wall())


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
steady = partial(time.clock_gettime, _CLOCK)
"""The first of the two clocks of a `Moment`."""
wall = time.time
"""The second."""


class Loss(enum.Enum):
    """How a lease was lost."""

    LAPSED = "it was not renewed within its time to live"
    EXPIRED = "it ran out at the server before it was renewed"
    TAKEN = "another process holds it"
    HUNG = "its holder does nothing any more"


class Found(enum.Enum):
    """What stands under the key, where a renewal was refused."""

    NOTHING = enum.auto()
    OURS = enum.auto()
    ANOTHERS = enum.auto()


_LOSSES = {Found.NOTHING: Loss.EXPIRED, Found.ANOTHERS: Loss.TAKEN}


class Tenure:
    """From the acquisition of a lease to its loss. ttl: seconds. revision: of the last write that was stored. since: when that was sent.

    sure_until: before this moment, by both clocks, nobody else can have it.
    lapses: whether the lease is lost once it is not certain that it is held: right for who must not act beside another holder, wrong for
    who may go on until the server says that the lease is gone.
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
        """Seconds for which nobody else can have it; none or negative if somebody might."""
        return self._lasts - self._age(now)

    def seconds_to_renewal(self, now: Moment) -> float:
        """Seconds until it is to be renewed; none or negative if it is time."""
        return self._every - self._age(now)

    def _age(self, now: Moment) -> float:
        return max(now.steady - self._since.steady, now.wall - self._since.wall)

    def is_held(self, now: Moment) -> bool:
        """Whether its holder may act on it. Once False for a lease that lapses, it stays so."""
        if self.loss is None and self._lapses and self.seconds_left(now) <= 0:
            self.loss = Loss.LAPSED
        return self.loss is None

    def renewed(self, revision: int, sent: Moment, ttl: float = 0.0) -> None:
        """A renewal was stored. ttl: how long it lasts, if longer than others."""
        if self.loss is None:
            self.revision = revision
            self._began(sent, max(ttl, self._ttl))

    def refused(self, found: Found, revision: int) -> None:
        """A renewal was refused. What was found may be an earlier renewal, whose acknowledgement was lost: when that was sent is not known,
        so that the next one is due at once."""
        if self.loss is None and found is Found.OURS:
            self.revision = revision
        elif self.loss is None:
            self.loss = _LOSSES[found]

    def end(self, loss: Loss) -> None:
        """Lose it, unless it is lost already."""
        self.loss = self.loss or loss

    @property
    def may_be_ours(self) -> bool:
        """Whether the key may still stand there as this holder wrote it."""
        return self.loss in (None, Loss.LAPSED)
