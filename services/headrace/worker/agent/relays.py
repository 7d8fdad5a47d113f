"""Who has a dataset from whom, where several hosts ask for it: the decisions of the host that has it, the origin.

    origin ---> first ---> second ---> third ...

Each host passes the bytes on while they still arrive, so all have them after about the time of one transfer, whatever their number.

Hosts take their places in the order in which they grant the dataset. So each has room for all of it by then: nobody waits for the memory
of another. A host is sent to a relay once, at its first grant, when nobody can be behind it yet, and whoever grants again is served by the
origin. So everyone's bytes come from one that was placed before, or from the origin: there are no cycles, whatever fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from headrace.worker.settings import Settings

ORIGIN = -1
"""Stands for the origin where others are given by their peer number."""


class PeerHost(NamedTuple):
    """A host that asks for datasets, and where others reach it (empty if they do not)."""

    host: str
    epoch: int
    address: str


class Broadcast:
    """One dataset on its way to several hosts."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._placed: set[str] = set()
        self._sources: dict[int, int] = {}
        """Per peer that has a place, in the order of their first grants: the peer that it was told to have the dataset from."""

    def ask(self, host: str) -> None:
        """A host asks for the dataset."""
        self._asked.add(host)

    @property
    def several(self) -> bool:
        """Whether more than one host asks."""
        return len(self._asked) > 1

    def place(self, peer: int, host: str, usable: Callable[[int], bool], free: bool, fan_out: int) -> int:
        """The peer that a host which grants the dataset is to have it from, or ORIGIN.

        usable: whether a peer is there, and can be a relay for this one. free: whether the origin may serve one more itself.
        """
        again, here = host in self._placed, [*filter(usable, self._sources)]
        self._placed.add(host)
        self._sources[peer] = ORIGIN if again or free else self._first_free(here, fan_out)
        return self._sources[peer]

    def _first_free(self, peers: list[int], fan_out: int) -> int:
        """The first of these behind which there is a place."""
        taken = [self._sources[peer] for peer in peers]
        return next((peer for peer in peers if taken.count(peer) < fan_out), ORIGIN)

    def source(self, peer: int) -> int:
        """What `place` said last; ORIGIN for a peer without a place."""
        return self._sources.get(peer, ORIGIN)

    def depth(self, peer: int) -> int:
        """How many hosts the bytes go through on their way to a peer."""
        depth = 0
        while (peer := self._sources.get(peer, ORIGIN)) != ORIGIN:
            depth += 1
        return depth


class Relays:
    """The hosts that ask this one for datasets, and who of them can pass on to whom."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hosts: dict[int, PeerHost] = {}
        self._failed: Counter[tuple[int, int]] = Counter()
        """How often a relay did not work for a taker, by both."""

    def came(self, peer: int, host: PeerHost) -> None:
        """A host has opened a link."""
        self._hosts[peer] = host

    def reachable(self, peer: int, address: str) -> None:
        """A host says where others reach it. Clients do not count."""
        if peer in self._hosts and self._hosts[peer].address != address:
            self._hosts[peer] = self._hosts[peer]._replace(address=address)

    def left(self, peer: int) -> None:
        """A link is gone."""
        self._hosts.pop(peer, None)
        self._failed = Counter({pair: count for pair, count in self._failed.items() if peer not in pair})

    def is_host(self, peer: int) -> bool:
        """Whether a peer can take pieces, and pass them on."""
        return peer in self._hosts and self._hosts[peer].address != ""

    def asked(self, broadcast: Broadcast | None, peer: int, nbytes: int) -> Broadcast | None:
        """A peer asks for a dataset of this size. Returns its broadcast; None while there is no need of one."""
        if nbytes < self._settings.relay_bytes or not self.is_host(peer):
            return broadcast
        broadcast = broadcast or Broadcast()
        broadcast.ask(self._hosts[peer].host)
        return broadcast

    def place(self, broadcast: Broadcast, peer: int, sending: int) -> PeerHost | None:
        """The host that a peer is to have a dataset from; None: this one. sending: to so many this one sends it already."""
        if not self.is_host(peer):
            return None
        self._note_failure(broadcast, peer)
        fan_out, host = self._settings.relay_fan_out, self._hosts[peer].host
        source = broadcast.place(peer, host, lambda relay: self._may_pass(relay, peer), sending < fan_out, fan_out)
        return None if source == ORIGIN else self._hosts[source]

    def _note_failure(self, broadcast: Broadcast, peer: int) -> None:
        before = broadcast.source(peer)
        if before in self._hosts:
            self._failed[before, peer] += 1

    def _may_pass(self, relay: int, peer: int) -> bool:
        works = self._failed[relay, peer] < self._settings.relay_failures
        return works and self.is_host(relay) and self._hosts[relay].host != self._hosts[peer].host
