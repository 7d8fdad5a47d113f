"""How often a connection is read: at once, or with a rest after each read for services that need not react at once.

A process that is woken for every message spends more on waking than on the message, and takes that time from the processes that a job waits
for. After a rest it reads everything that arrived in the meantime together; after a longer silence it still reads the first message at
once.
"""

from __future__ import annotations


class Pace:
    """The pace of one connection.

    rest: seconds for which nothing is read after each read. 0: everything is read as it arrives.
    """

    __slots__ = ("_hurries", "rest")

    def __init__(self) -> None:
        self.rest = 0.0
        self._hurries = 0

    def hurry(self) -> None:
        """Suspend rests while a caller waits for one message after another, until `calm` is called as often."""
        self._hurries += 1

    def calm(self) -> None:
        """End the effect of one call of `hurry`."""
        self._hurries -= 1

    @property
    def pause(self) -> float:
        """Seconds to pause reading now."""
        return 0.0 if self._hurries else self.rest
