"""The messages that changed more than one job: hosts that came or went, and the first decision of each term."""

from __future__ import annotations

from bisect import insort
from typing import NamedTuple

from headrace.ledger.hosts import Hosts
from headrace_schemas import HostJoined, HostLost, Needed, Revoke

Turned = HostJoined | HostLost | Needed | Revoke
FEWEST = 1_000
"""Turns before old ones are dropped for the first time."""


class Noted(NamedTuple):
    """A turn, and where it is in the log. time: seconds since the epoch."""

    seq: int
    time: float
    message: Turned


class Turns:
    """The turns that were folded. is_open: whether this process decided in a new term, and where its first decision is in the log
    is not known yet."""

    def __init__(self) -> None:
        self.is_open = False
        self._noted: list[Noted] = []
        self._limit = FEWEST

    def __len__(self) -> int:
        return len(self._noted)

    def note_turn(self, seq: int, time: float, message: Turned) -> bool:
        """Take one in. Returns whether there are so many that old ones are to be dropped."""
        insort(self._noted, Noted(seq, time, message), key=_seq)
        return len(self._noted) > self._limit

    def drop(self, first: int) -> None:
        """Drop turns from before a sequence that are not true any more."""
        self._noted = self.since(first)
        self._limit = max(FEWEST, 2 * len(self._noted))

    def since(self, first: int) -> list[Noted]:
        """The turns from a sequence on; and of those before it, the ones that are still true: how each host joined last, whether it was
        lost since, and the last term of each service."""
        before = [turn for turn in self._noted if turn.seq < first]
        return _still_true(before) + self._noted[len(before) :]


def _still_true(turns: list[Noted]) -> list[Noted]:
    hosts = Hosts()
    latest: dict[tuple[type[Turned], str], Noted] = {}
    for turn in turns:
        message = turn.message
        if not isinstance(message, HostJoined | HostLost):
            latest[type(message), ""] = turn
        elif hosts.changes(message):
            if isinstance(message, HostJoined):
                hosts.joined(message)
                latest.pop((HostLost, message.host), None)
            else:
                hosts.lost(message)
            latest[type(message), message.host] = turn
        elif isinstance(message, HostJoined) and hosts.repeats(message):
            latest[HostJoined, message.host] = turn  # when the log said so last is part of what is known of a host
    return sorted(latest.values(), key=_seq)


def _seq(turn: Noted) -> int:
    return turn.seq
