"""How often a connection is read: at once, or with a rest after each read, for who need not know at once.

A process that is woken for every message spends more on waking than on what the message says, and takes that time from those that a job
waits for. After a rest it reads together what came in the meantime; after a longer silence it still reads the first message at once.
"""

from __future__ import annotations


class Pace:
    """How often one connection is read.

    rest: seconds for which nothing is read after each read. 0: everything is read as it comes.
    """

    __slots__ = ("_hurries", "rest")

    def __init__(self) -> None:
        self.rest = 0.0
        self._hurries = 0

    def hurry(self) -> None:
        """Somebody waits for one message after another: no rests until as many calls of `calm`."""
        self._hurries += 1

    def calm(self) -> None:
        """What a call of `hurry` was for is over."""
        self._hurries -= 1

    @property
    def pause(self) -> float:
        """Seconds for which to read nothing now."""
        return 0.0 if self._hurries else self.rest
