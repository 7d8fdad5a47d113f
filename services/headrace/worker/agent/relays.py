"""The source of a dataset for each of several hosts that ask for it. The host that has the dataset, the origin, decides.

    origin ---> first ---> second ---> third ...

Each host passes the bytes on while they still arrive. So all hosts have them after about the time of one transfer, whatever their number.

Hosts get their places in the order of their grants, so each has memory for the whole dataset by then, and none waits for another one's
memory. A host is sent to a relay only once, at its first grant, when no host can be behind it yet. If it grants again, the origin serves
it. So each host gets its bytes from a host that was placed before it, or from the origin: there are no cycles, whatever fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from headrace.worker.settings import Settings

ORIGIN = -1
"""The origin, in place of a peer number."""


class PeerHost(NamedTuple):
    """A host that asks for datasets. address: where other hosts reach it; empty if they cannot."""

    host: str
    epoch: int
    address: str


class Broadcast:
    """One dataset that several hosts ask for."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._placed: set[str] = set()
        self._sources: dict[int, int] = {}
        """The source that each peer was given, in the order of their first grants."""

    def ask(self, host: str) -> None:
        """Note that a host asks for the dataset."""
        self._asked.add(host)

    @property
    def several(self) -> bool:
        """Whether more than one host has asked."""
        return len(self._asked) > 1

    def place(self, peer: int, host: str, usable: Callable[[int], bool], free: bool, fan_out: int) -> int:
        """Return the source of a host that grants the dataset: a peer, or ORIGIN.

        usable: returns whether a peer is connected and can be a relay for this one. free: whether the origin may send to one more host.
        """
        again, here = host in self._placed, [*filter(usable, self._sources)]
        self._placed.add(host)
        self._sources[peer] = ORIGIN if again or free else self._first_free(here, fan_out)
        return self._sources[peer]

    def _first_free(self, peers: list[int], fan_out: int) -> int:
        """Return the first of these peers that may send to one more host; ORIGIN if there is none."""
        taken = [self._sources[peer] for peer in peers]
        return next((peer for peer in peers if taken.count(peer) < fan_out), ORIGIN)

    def source(self, peer: int) -> int:
        """Return the result of the last `place` for a peer; ORIGIN if there was none."""
        return self._sources.get(peer, ORIGIN)

    def depth(self, peer: int) -> int:
        """Return the number of hosts that the bytes pass on their way to a peer."""
        depth = 0
        while (peer := self._sources.get(peer, ORIGIN)) != ORIGIN:
            depth += 1
        return depth


class Relays:
    """The hosts that ask this one for datasets, and which of them can be relays for which."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hosts: dict[int, PeerHost] = {}
        self._failed: Counter[tuple[int, int]] = Counter()
        """How often a relay failed for a peer, by relay and peer."""

    def came(self, peer: int, host: PeerHost) -> None:
        """Note that a host has opened a link."""
        self._hosts[peer] = host

    def reachable(self, peer: int, address: str) -> None:
        """Note the address at which other hosts reach a peer. Ignored for clients."""
        if peer in self._hosts and self._hosts[peer].address != address:
            self._hosts[peer] = self._hosts[peer]._replace(address=address)

    def left(self, peer: int) -> None:
        """Forget a peer whose link ended."""
        self._hosts.pop(peer, None)
        self._failed = Counter({pair: count for pair, count in self._failed.items() if peer not in pair})

    def is_host(self, peer: int) -> bool:
        """Return whether a peer can receive pieces and pass them on."""
        return peer in self._hosts and self._hosts[peer].address != ""

    def asked(self, broadcast: Broadcast | None, peer: int, nbytes: int) -> Broadcast | None:
        """Note that a peer asks for a dataset of this size. Return the dataset's broadcast; None while it needs none."""
        if nbytes < self._settings.relay_bytes or not self.is_host(peer):
            return broadcast
        broadcast = broadcast or Broadcast()
        broadcast.ask(self._hosts[peer].host)
        return broadcast

    def place(self, broadcast: Broadcast, peer: int, sending: int) -> PeerHost | None:
        """Return the relay for a peer, or None if this host sends the dataset itself.

        sending: the number of peers to which this host sends the dataset already.
        """
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
