"""Hosts that keep their leases but cannot be reached by their peers, and which of them the controller declares lost.

A host reports peers that it needs data from and could not open a link to for some seconds (`Events.unreachable`). A network that is cut
between two hosts looks the same from both sides. So the controller counts the peers that a host is cut off from, whichever side reports it:

    two hosts        one of them is declared lost if they are cut off from each other
    more             a host is declared lost if it is cut off from two others. If it is only one, that path alone may be broken: tasks that
                     need it fail as `unreachable`, and are retried on other hosts

The host that is cut off from the most peers is declared lost first, by a `HostLost` like that of a host whose lease ran out. Other hosts do
its work again. The host reads of this in the log, and rejoins once it reaches a peer.
"""

from __future__ import annotations

import math
from collections import Counter

from headrace.controller.settings import Limits
from headrace.ledger import Hosts
from headrace_schemas import Events, HostJoined, HostLost

Pair = tuple[str, str]
"""A host, and one that it cannot reach."""


class Cuts:
    """The recent reports of hosts about peers that they cannot reach."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._said: dict[Pair, float] = {}
        self._joined: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._said)

    def note_report(self, events: Events, time: float, hosts: Hosts) -> None:
        """Note a report of peers that a host cannot reach. time: by the log's clock."""
        if hosts.counts(events.host, events.epoch):
            others = [other for other in events.unreachable if time - self._joined.get(other, -math.inf) >= self._limits.fresh_host_seconds]
            self._said.update(((events.host, other), time) for other in others if other != events.host)

    def drop_reports(self, message: HostJoined | HostLost, time: float) -> None:
        """Drop the reports by and about a host that joined or was lost: they were of another epoch. time: by the log's clock."""
        if isinstance(message, HostJoined):
            self._joined[message.host] = time
        self._said = {pair: time for pair, time in self._said.items() if message.host not in pair}

    def take_lost(self, now: float, hosts: Hosts) -> list[tuple[str, list[str]]]:
        """Return the hosts to declare lost, each with the peers that it is cut off from. now: by the log's clock.

        The reports about a returned host are dropped, so that it is returned once.
        """
        self._said = {pair: time for pair, time in self._said.items() if now - time <= self._limits.cut_seconds}
        living = set(hosts.alive())
        pairs = [pair for pair in self._said if living.issuperset(pair)]
        found = []
        while (worst := _worst(pairs, min(self._limits.cut_peers, len(living) - 1))) is not None:
            found.append((worst, sorted({other for pair in pairs if worst in pair for other in pair} - {worst})))
            living.discard(worst)
            pairs = [pair for pair in pairs if worst not in pair]
            self._said = {pair: time for pair, time in self._said.items() if worst not in pair}
        return found


def _worst(pairs: list[Pair], enough: int) -> str | None:
    """Find the host that is cut off from the most peers, if there are at least `enough`.

    Of several such hosts, the one that the most others report as unreachable is taken, and then the last one by name.
    """
    peers = Counter(host for pair in {frozenset(pair) for pair in pairs} for host in pair)
    accused = Counter(other for _, other in pairs)
    worst = max(peers, key=lambda host: (peers[host], accused[host], host), default=None)
    return worst if worst is not None and peers[worst] >= enough else None
