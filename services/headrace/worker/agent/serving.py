r"""Service to peers: the datasets that they wait for, and the way in which each gets them.

Want ---> here already: Values, or an Offer ---> Grant ---> Data, or a Relay that names another host
\--> not here yet: the peer waits           \--> dropped in the meantime: Gone
"""

from __future__ import annotations

from headrace.link import frames
from headrace.worker.agent.actions import Action, ToPeer
from headrace.worker.agent.cut_through import CutThrough, Taker
from headrace.worker.agent.jobs import Entry, HostJob
from headrace.worker.agent.outgoing import Outgoing
from headrace.worker.agent.relays import Broadcast, Relays
from headrace.worker.agent.sends import Sends
from headrace.worker.settings import Settings
from headrace_shm import Block, Store

LINK = ("link",)
"""The writer of blocks that come from other hosts, in the store's books."""


class Serving:
    """Serves the peers that ask for datasets. Appends actions to the list it was given."""

    def __init__(self, store: Store[int], actions: list[Action], settings: Settings) -> None:
        self.relays = Relays(settings)
        self.cut_through = CutThrough(store, actions, settings.piece_bytes)
        self.outgoing = Outgoing(actions)
        self.sending = Sends(store, actions, self.outgoing, settings)
        self._store = store
        self._actions = actions

    def wanted(self, job: HostJob, dataset: int, peer: int) -> None:
        """Send or offer a dataset to a peer that asks for it, or let the peer wait until the dataset exists."""
        unknown = dataset >= len(job.producer)
        if unknown or dataset in job.dropped or (job.ended and dataset not in job.entries):
            self.outgoing.gone(peer, job.name, dataset)
            return
        entry = job.entry(dataset)
        if entry.here:
            self.serve(job, entry, peer)
        elif peer not in entry.wanted_by:
            entry.wanted_by = [*entry.wanted_by, peer]

    def granted(self, job: HostJob, dataset: int, peer: int, start: int | None = None) -> None:
        """Send a dataset to a peer that has granted memory for it, or name a relay that sends it.

        start: the first byte that the peer lacks, if it was told to get the dataset from a relay. This host may be that relay, so the
        dataset may still be arriving here.
        """
        entry = job.entries.get(dataset)
        on_disk = entry is not None and entry.block is None and entry.spill_key != ""
        room = entry.block or entry.granted if entry is not None else None
        if entry is None or (not on_disk and (room is None or (entry.block is None and (start is None or room.writer != LINK)))):
            self.outgoing.gone(peer, job.name, dataset)
        elif entry.broadcast is not None and self._relayed(job, entry, entry.broadcast, peer, start):
            pass
        elif on_disk or room is None:
            self.sending.grant(peer, job, entry, start if start is not None and start < entry.nbytes else 0)
        elif start is not None or (entry.broadcast is not None and entry.broadcast.several and self.relays.is_host(peer)):
            taker = Taker(job.name, entry, room, start if start is not None and start < room.nbytes else 0)
            self.cut_through.begin(peer, taker, room.nbytes if entry.block is not None else entry.filled)
        elif not self.cut_through.takes(peer, room.id):
            self.sending.grant(peer, job, entry)

    def _relayed(self, job: HostJob, entry: Entry, broadcast: Broadcast, peer: int, start: int | None) -> bool:
        """Return whether the peer was told to get the dataset from a relay."""
        relay = self.relays.place(broadcast, peer, entry.sending)
        if relay is None or start is not None:
            return False
        depth = broadcast.depth(peer)
        self._actions.append(ToPeer(peer, frames.Relay(job.name, entry.dataset, relay.host, relay.address, relay.epoch, depth)))
        return True

    def serve_waiting(self, job: HostJob, entry: Entry) -> None:
        """Serve the peers that asked for a dataset before it was here."""
        peers, entry.wanted_by = entry.wanted_by, ()
        for peer in peers:
            self.serve(job, entry, peer)

    def serve(self, job: HostJob, entry: Entry, peer: int) -> None:
        """Send a peer a small dataset, or offer it a large one."""
        if entry.value is not None:
            self.outgoing.value(peer, job.name, entry.dataset, entry.attempt, entry.value)
        else:
            entry.broadcast = self.relays.asked(entry.broadcast, peer, entry.nbytes)
            self.outgoing.offer(peer, job.name, entry.dataset, entry.attempt, entry.nbytes)

    def abandon(self, job: HostJob, entry: Entry, block: Block[int]) -> None:
        """Tell the peers that receive a block in pieces that the rest will not come."""
        for peer in self.cut_through.give_up(block):
            self.outgoing.gone(peer, job.name, entry.dataset)

    def sent(self, peer: int, frame: frames.Data, nbytes: int, block: int = 0) -> bool:
        """Note that bytes were sent, or that their link ended. block: 0 for bytes from disk. Return whether memory was freed."""
        freed = bool(block and self._store.release(block, ("peer", peer)))
        if self.cut_through.takes(peer, block):
            self.cut_through.sent(peer, block)
        else:
            self.sending.sent(peer, frame, nbytes)
        return freed

    def left(self, peer: int) -> None:
        """Stop sending to a peer whose link ended."""
        self.cut_through.left(peer)
        self.sending.left(peer)
        self.relays.left(peer)


def forget_peer(entry: Entry, peer: int) -> None:
    """Remove a peer from those that wait for a dataset."""
    if peer in entry.wanted_by:
        entry.wanted_by = [other for other in entry.wanted_by if other != peer]
