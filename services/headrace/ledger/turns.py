"""The messages that changed more than one job: hosts that joined or were lost, and the beginning of each term.

Such a message is called a turn.
"""

from __future__ import annotations

from bisect import insort
from typing import NamedTuple

from headrace.ledger.hosts import Hosts
from headrace_schemas import HostJoined, HostLost, TermBegan

Turned = HostJoined | HostLost | TermBegan
FEWEST = 1_000
"""The number of turns from which on old ones are dropped."""


class Noted(NamedTuple):
    """A turn with its place in the log. time: seconds since 1970."""

    seq: int
    time: float
    message: Turned


class Turns:
    """The turns that were folded."""

    def __init__(self) -> None:
        self._noted: list[Noted] = []
        self._limit = FEWEST

    def __len__(self) -> int:
        return len(self._noted)

    def note_turn(self, seq: int, time: float, message: Turned) -> bool:
        """Add a turn. Return whether there are now enough turns to drop old ones. time: seconds since 1970."""
        insort(self._noted, Noted(seq, time, message), key=_seq)
        return len(self._noted) > self._limit

    def drop(self, first: int) -> None:
        """Drop turns before sequence `first` that later turns replaced."""
        self._noted = self.since(first)
        self._limit = max(FEWEST, 2 * len(self._noted))

    def since(self, first: int) -> list[Noted]:
        """List the turns from sequence `first` on, and those before it that no later turn replaced.

        The latter are the last start of each host, its loss if it was lost since, and the last term of each service.
        """
        before = [turn for turn in self._noted if turn.seq < first]
        return _still_true(before) + self._noted[len(before) :]


def _still_true(turns: list[Noted]) -> list[Noted]:
    hosts = Hosts()
    latest: dict[tuple[type[Turned], str], Noted] = {}
    for turn in turns:
        message = turn.message
        if isinstance(message, TermBegan):
            latest[TermBegan, message.service] = turn
        elif hosts.is_change(message):
            if isinstance(message, HostJoined):
                hosts.fold_joined(message)
                latest.pop((HostLost, message.host), None)
            else:
                hosts.fold_lost(message)
            latest[type(message), message.host] = turn
        elif isinstance(message, HostJoined) and hosts.repeats(message):
            latest[HostJoined, message.host] = turn  # its time is `HostRecord.told`
    return sorted(latest.values(), key=_seq)


def _seq(turn: Noted) -> int:
    return turn.seq
