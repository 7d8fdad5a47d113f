"""Whether NATS stores what it is sent. Pure: time is counted in ticks of a connection that works.

nats-server sends no answer at all to a message that it cannot write to its disk, be it an error or an acknowledgement; and after the first
such message of a stream it takes no other into that stream, until it is restarted. Requests that write nothing, and PINGs, are answered as
ever. So what tells is the age of the oldest message without an answer, on a connection that is alive.
"""

from __future__ import annotations

from headrace.bus.settings import TIMES

NOT_STORED = (
    "NATS answers, but has stored nothing for {seconds:.0f} s: its disk is probably full or cannot be written to. "
    "Make room there and restart nats-server on the same store (a local cluster does that by itself)"
)


class Storing:
    """Watches the oldest publish without an answer. share: of the usual time.

    oldest: its number, 0 if there is none. If it is given up, that says nothing of the server: an answer does, or a new connection.
    """

    __slots__ = ("_needed", "_ticks", "oldest")

    def __init__(self, share: float = 1.0) -> None:
        self._needed = TIMES.store_seconds * share
        self.oldest = 0
        self._ticks = 0

    def tick(self, oldest: int) -> None:
        """Time went by on a connection that is alive. oldest: number of the oldest publish without an answer, 0 if there is none."""
        if (oldest and oldest == self.oldest) or self.overdue:
            self._ticks += 1
        else:
            self._ticks = 0
        self.oldest = oldest

    def answered(self) -> None:
        """The oldest was answered, with an acknowledgement or an error that says why; or there is a new connection."""
        self._ticks = self.oldest = 0

    @property
    def overdue(self) -> float:
        """Seconds since NATS stored something, if that is longer than it may take; otherwise 0."""
        seconds = self._ticks * TIMES.tick_seconds
        return seconds if seconds >= self._needed else 0.0
