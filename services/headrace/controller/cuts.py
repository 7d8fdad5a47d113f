"""Hosts that their peers cannot reach, though they keep their leases: which of them the cluster goes on without.

A host says whom it needs data from and has not been able to open a link to for some seconds (`Events.unreachable`). A network that is cut
between two hosts looks the same from both sides, so what counts is with how many others a host has lost touch, whoever says it:

    two hosts        either is enough to go on: one that lost touch with the other
    more             a host that has lost touch with two others. With one only, that path alone may be broken: tasks that need it fail as
                     `unreachable`, and are tried on other hosts

The host with the most such peers is lost first, by a `HostLost` like that of a host whose lease ran out: what it holds and does is made
again by the others. It hears of that by the log, and joins again once it reaches a peer.
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
    """What hosts said lately, by pair: when."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._said: dict[Pair, float] = {}
        self._joined: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._said)

    def said(self, events: Events, time: float, hosts: Hosts) -> None:
        """A host names others that it cannot reach. time: by the log's clock."""
        if hosts.counts(events.host, events.epoch):
            others = [other for other in events.unreachable if time - self._joined.get(other, -math.inf) >= self._limits.fresh_host_seconds]
            self._said.update(((events.host, other), time) for other in others if other != events.host)

    def changed(self, message: HostJoined | HostLost, time: float) -> None:
        """A host came or went: what was said of it, or by it, was of another epoch. time: by the log's clock."""
        if isinstance(message, HostJoined):
            self._joined[message.host] = time
        self._said = {pair: time for pair, time in self._said.items() if message.host not in pair}

    def lost(self, now: float, hosts: Hosts) -> list[tuple[str, list[str]]]:
        """The hosts to go on without, each with the peers that it has lost touch with; each once. now: by the log's clock."""
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
    """The host that has lost touch with the most others, if these are enough; of several, whom others cannot reach, the last by name."""
    peers = Counter(host for pair in {frozenset(pair) for pair in pairs} for host in pair)
    accused = Counter(other for _, other in pairs)
    worst = max(peers, key=lambda host: (peers[host], accused[host], host), default=None)
    return worst if worst is not None and peers[worst] >= enough else None
