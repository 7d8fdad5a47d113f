"""Limits the links that one process accepts: unauthenticated ones in total, and authenticated ones of each peer. No I/O.

A stranger costs a connection and a small buffer until its proof is due. If too many of them wait, the one that has waited longest is ended:
an honest peer proves itself within a few round trips, so those that wait long are silent. Whoever has the key of a job can use any name, so
all clients of a job count as one peer.
"""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

from headrace.link.handshake import Peer
from headrace.link.settings import MAX_LINKS_OF_A_PEER, MAX_UNPROVED

L = TypeVar("L")


class Admission(Generic[L]):
    """The accepted links. refused: the number of links that were ended because there were too many, by reason."""

    def __init__(self, most_unproved: int = MAX_UNPROVED, most_of_a_peer: int = MAX_LINKS_OF_A_PEER) -> None:
        self.most_unproved = most_unproved
        self.most_of_a_peer = most_of_a_peer
        self._unproved: dict[L, None] = {}
        self._proved: dict[L, tuple[str, str]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self.refused = Counter({"unproved": 0, "peer": 0})

    def came(self, link: L) -> L | None:
        """Add a new connection. Returns a link to end in its place, if there are too many."""
        self._unproved[link] = None
        if len(self._unproved) <= self.most_unproved:
            return None
        oldest = next(iter(self._unproved))
        del self._unproved[oldest]
        self.refused["unproved"] += 1
        return oldest

    def proved(self, link: L, peer: Peer) -> bool:
        """Note that a link's peer has proved its identity. Returns False if the peer has too many links, so that this one must end."""
        self._unproved.pop(link, None)
        key = (peer.role, peer.job if peer.job is not None else peer.peer)
        if self._counts[key] >= self.most_of_a_peer:
            self.refused["peer"] += 1
            return False
        self._counts[key] += 1
        self._proved[link] = key
        return True

    def left(self, link: L) -> None:
        """Remove a link that has ended."""
        self._unproved.pop(link, None)
        key = self._proved.pop(link, None)
        if key is not None:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
