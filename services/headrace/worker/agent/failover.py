"""Datasets that a relay sends in place of the host that has them, the origin; and what happens if the relay fails.

    Relay from the origin ---> Grant to the relay ---> pieces ---> here
                                  |
                                  | link lost, relay restarted, relay has no copy, or relay silent for too long
                                  v
                               Grant to the origin again, from the first missing byte

Meanwhile the entry's `source` is the relay. The granted block stays, and peers that take the dataset from here need not know of the change.
The wait for a relay is over once the entry has another block or none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from headrace.link import frames
from headrace.worker.agent.actions import Action, Connect, Disconnect, ToHost
from headrace.worker.agent.jobs import Entry, HostJob
from headrace_shm import Block

UP, DOWN, CONNECTING = "up", "down", "connecting"
"""States of a link that this host opens."""


class Relayed(NamedTuple):
    """A dataset that is to come through a relay."""

    job: HostJob
    entry: Entry
    room: Block[int]
    origin: str
    relay: str
    epoch: int
    depth: int
    """The number of hosts that the bytes pass. A host further down waits longer, so that those before it can switch to the origin first."""
    since: float

    @property
    def over(self) -> bool:
        """Whether the dataset has arrived, or no longer comes through this relay."""
        return self.entry.granted is not self.room or self.entry.source != self.relay


class RelayFailover:
    """The datasets that come to a host through relays.

    `links`: the state of each link. `ask_again(job, entry, host)`: ask for a dataset anew, without its block.
    """

    def __init__(
        self,
        host: str,
        patience: float,
        now: float,
        actions: list[Action],
        links: dict[str, str],
        ask_again: Callable[[HostJob, Entry, str], None],
    ) -> None:
        self._host = host
        self._patience = patience
        self._actions = actions
        self._links = links
        self._ask_again = ask_again
        self._relayed: list[Relayed] = []
        self._epochs: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._now = now

    # --- events -----------------------------------------------------------------------------------------------------

    def redirected(self, job: HostJob, origin: str, frame: frames.Relay) -> None:
        """Take a dataset from the relay that the origin names. Ignored if the dataset has no block, or no longer comes from the origin."""
        entry = job.entries.get(frame.dataset)
        if entry is None or entry.granted is None or entry.source != origin:
            return
        relayed = Relayed(job, entry, entry.granted, origin, frame.host, frame.epoch, frame.depth, self._now)
        entry.source = frame.host
        self._relayed.append(relayed)
        state = self._links.get(frame.host, DOWN)
        if frame.host == self._host:
            self._give_up(relayed)
        elif state == UP:
            self._begin(relayed)
        elif state == DOWN:
            self._links[frame.host] = CONNECTING
            self._actions.append(Connect(frame.host, job.addresses.setdefault(frame.host, frame.address)))

    def connected(self, host: str, epoch: int) -> None:
        """Ask a relay for its datasets, because the link to it is open."""
        self._epochs[host] = epoch
        for relayed in self._through(host):
            self._begin(relayed)

    def lost(self, host: str) -> None:
        """Take a relay's datasets from the origin, because the link to the relay ended or could not be opened."""
        for relayed in self._through(host):
            self._give_up(relayed)

    def gone(self, host: str, entry: Entry) -> bool:
        """Take a dataset from the origin, because its relay does not have it. Return False if the host was no relay for it."""
        found = [relayed for relayed in self._through(host) if relayed.entry is entry]
        for relayed in found:
            self._give_up(relayed)
        return bool(found)

    def heard(self, host: str) -> None:
        """Note that bytes arrive from a host."""
        self._heard[host] = self._now

    def tick(self, now: float) -> None:
        """Give up the relays that have been silent for too long, as if their links had broken."""
        self._now = now
        self._relayed = [relayed for relayed in self._relayed if not relayed.over]
        silent = [relayed for relayed in self._relayed if self._is_silent(relayed)]
        for host in dict.fromkeys(relayed.relay for relayed in silent if self._links.get(relayed.relay) == UP):
            self._actions.append(Disconnect(host))
        for relayed in silent:
            if self._links.get(relayed.relay) != UP:
                self._give_up(relayed)

    # --- decisions --------------------------------------------------------------------------------------------------

    def _through(self, host: str) -> list[Relayed]:
        return [relayed for relayed in self._relayed if relayed.relay == host and not relayed.over]

    def _is_silent(self, relayed: Relayed) -> bool:
        heard = max(relayed.since, self._heard.get(relayed.relay, 0.0))
        return self._now - heard > self._patience * relayed.depth

    def _begin(self, relayed: Relayed) -> None:
        if self._epochs.get(relayed.relay, relayed.epoch) != relayed.epoch:  # the relay has restarted, and has no copy
            self._give_up(relayed)
        else:
            self._grant(relayed.job, relayed.entry, relayed.relay)

    def _give_up(self, relayed: Relayed) -> None:
        """Take a dataset from the origin after all."""
        entry = relayed.entry
        entry.source = relayed.origin
        if self._links.get(relayed.origin) == UP:
            self._grant(relayed.job, entry, relayed.origin)
        else:
            self._ask_again(relayed.job, entry, relayed.origin)

    def _grant(self, job: HostJob, entry: Entry, host: str) -> None:
        self._actions.append(ToHost(host, frames.Grant(job.name, [entry.dataset], [entry.filled])))
