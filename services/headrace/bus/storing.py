"""Detects that NATS stores nothing. Pure: time is counted in ticks of a connection that works.

nats-server sends no answer at all to a message that it cannot write to its disk, neither an error nor an acknowledgement. After the first
such message of a stream it takes no other message into that stream until it is restarted. It still answers PINGs, and requests that write
nothing. So the age of the oldest unanswered message, on a connection that is alive, shows the problem.
"""

from __future__ import annotations

from headrace.bus.settings import TIMES

NOT_STORED = (
    "NATS answers, but has stored nothing for {seconds:.0f} s: its disk is probably full or not writable. "
    "Make room there, and restart nats-server on the same store (a local cluster does that by itself)"
)


class Storing:
    """The watch over the oldest unanswered publish. share: factor of the usual time.

    oldest: its number, 0 if there is none. If it is given up, that says nothing about the server; only an answer or a new connection does.
    """

    __slots__ = ("_needed", "_ticks", "oldest")

    def __init__(self, share: float = 1.0) -> None:
        self._needed = TIMES.store_seconds * share
        self.oldest = 0
        self._ticks = 0

    def tick(self, oldest: int) -> None:
        """Count a tick on a connection that is alive. oldest: number of the oldest unanswered publish, 0 if there is none."""
        if (oldest and oldest == self.oldest) or self.overdue:
            self._ticks += 1
        else:
            self._ticks = 0
        self.oldest = oldest

    def answered(self) -> None:
        """Note that the oldest publish was answered, with an acknowledgement or an error, or that there is a new connection."""
        self._ticks = self.oldest = 0

    @property
    def overdue(self) -> float:
        """Seconds since NATS stored a message, if that is longer than allowed; otherwise 0."""
        seconds = self._ticks * TIMES.tick_seconds
        return seconds if seconds >= self._needed else 0.0
