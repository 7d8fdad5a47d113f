"""Chooses what a feed reads: its own subjects, or the whole stream.

A server delivers quickly to a consumer of a few subjects while the consumer is at the end of the stream. Once it has fallen behind, the
server compares its filters with every subject of the stream for each message that it delivers, and publishers wait for the same locks. With
thousands of jobs in the log, this takes longer than new messages take to arrive, so no consumer catches up. A consumer without a filter
costs the same at any position. So a feed that is behind reads everything, and drops what it does not need, by the subject alone, until it
has been at the end of the stream for a while.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

BEHIND = 256
"""Remaining messages from which on a feed counts as behind. One large job makes some tens at a time."""
_PATIENCE = 2
"""Ticks for which a feed must be behind before it reads everything."""
_CALM, _MOST_CALM = 8, 240
"""Ticks for which a feed must be at the end before it reads its own subjects again. The first number doubles with each return, up to the
second."""


class Reach:
    """The choice whether a feed reads the whole stream at present.

    may: whether it is allowed to. pending: messages that remain after the last one that arrived; the feed sets it.
    """

    __slots__ = ("_calm", "_late", "_needed", "may", "pending", "whole")

    def __init__(self, may: bool) -> None:
        self.may = may
        self.whole = False
        self.pending = 0
        self._late = 0
        self._calm = 0
        self._needed = _CALM

    def opened(self, pending: int) -> bool:
        """Note that a consumer was made, with `pending` messages to come. Returns whether to make another one, for the whole stream."""
        self.pending = pending
        return pending > BEHIND and self._widen()

    def tick(self) -> bool:
        """Count a tick. Returns whether the reach has changed, so that another consumer is needed."""
        behind = self.pending > BEHIND
        if self.whole:
            self._calm = 0 if behind else self._calm + 1
            return self._calm >= self._needed and self._narrow()
        self._late = self._late + 1 if behind else 0
        return self._late >= _PATIENCE and self._widen()

    def _widen(self) -> bool:
        if self.whole or not self.may:
            return False
        self.whole, self._calm = True, 0
        return True

    def _narrow(self) -> bool:
        self.whole, self._late, self.pending = False, 0, 0
        self._needed = min(2 * self._needed, _MOST_CALM)
        return True


def matcher(patterns: Iterable[str]) -> Callable[[bytes], object]:
    """Return a function that quickly checks whether a subject matches one of the patterns. It returns something true or false."""
    return re.compile("|".join(map(_expression, patterns)).encode()).fullmatch


def _expression(pattern: str) -> str:
    tokens = pattern.split(".")
    return r"\.".join(".+" if token == ">" else "[^.]+" if token == "*" else re.escape(token) for token in tokens)
