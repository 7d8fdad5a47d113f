"""Datasets on their way to peers that granted memory for them: as blocks from memory, or in pieces from disk.

    granted ---> waiting, in order ---> under way ---> sent
                    |                      |
                    +--- the peer left, or the dataset was lost: the peer is told, and the send is forgotten

A peer has little under way at a time, so that a slow or silent reader keeps little of the store busy. Datasets that wait for their turn may
go to disk. They are then sent from there in pieces, which take no room in the store. So a peer's request never waits for memory.
"""

from __future__ import annotations

from collections import deque

from headrace.link import frames
from headrace.worker.agent.actions import Action, SendBlock, SendSpilled
from headrace.worker.agent.jobs import Entry, HostJob
from headrace.worker.agent.outgoing import Outgoing
from headrace.worker.settings import Settings
from headrace_shm import Store


class Send:
    """A dataset for a peer. next: the first byte of which no send has begun."""

    __slots__ = ("attempt", "entry", "job", "lost", "next", "size", "unsent")

    def __init__(self, job: HostJob, entry: Entry, start: int) -> None:
        self.job = job
        self.entry = entry
        self.next = start
        self.size = entry.nbytes
        self.attempt = entry.attempt
        self.unsent = 0
        """The number of parts under way."""
        self.lost = False
        """Whether the rest cannot be sent."""

    @property
    def there(self) -> bool:
        """Whether this host still has the attempt of the dataset that the peer granted."""
        entry = self.entry
        return (
            self.job.entries.get(entry.dataset) is entry
            and entry.attempt == self.attempt
            and (entry.block is not None or entry.spill_key != "")
        )


Key = tuple[int, str, int]
"""A peer, a job and a dataset."""


class Sends:
    """The sends to all peers: those under way, and those that wait. Appends actions to the list it was given."""

    def __init__(self, store: Store[int], actions: list[Action], outgoing: Outgoing, settings: Settings) -> None:
        self._window_bytes = settings.send_window_bytes
        self._piece_bytes = settings.disk_piece_bytes
        self._pieces_ahead = settings.disk_pieces_ahead
        self._store = store
        self._actions = actions
        self._outgoing = outgoing
        self._waiting: dict[int, deque[Send]] = {}
        self._under_way: dict[Key, Send] = {}
        self._bytes: dict[int, int] = {}
        """Bytes under way, by peer."""

    def __len__(self) -> int:
        """Return the number of datasets that are under way or wait."""
        return len(self._under_way) + sum(map(len, self._waiting.values()))

    def grant(self, peer: int, job: HostJob, entry: Entry, start: int = 0) -> None:
        """Send a dataset to a peer that has its first `start` bytes. A second grant during the send is ignored."""
        waiting = self._waiting.get(peer, ())
        if (peer, job.name, entry.dataset) in self._under_way or any(send.entry is entry for send in waiting):
            return
        entry.owed += 1
        self._waiting.setdefault(peer, deque()).append(Send(job, entry, start))
        self._next(peer)

    def _next(self, peer: int) -> None:
        """Begin the waiting sends that fit into the peer's window."""
        waiting = self._waiting.get(peer, ())
        while waiting and self._bytes.get(peer, 0) < self._window_bytes:
            send = waiting.popleft()
            send.entry.owed -= 1
            if not send.there:
                self._outgoing.gone(peer, send.job.name, send.entry.dataset)
                continue
            send.entry.sending += 1
            self._under_way[peer, send.job.name, send.entry.dataset] = send
            self._go_on(peer, send)
        if not waiting:
            self._waiting.pop(peer, None)

    def _go_on(self, peer: int, send: Send) -> None:
        """Send all that is in memory, or some pieces of what is on disk."""
        if not send.there and send.next < send.size:
            send.lost = True
            return
        block = send.entry.block
        if block is not None and send.next < send.size:
            self._store.hold(block.key, ("peer", peer))
            frame, nbytes = self._part(send, send.size - send.next)
            self._begin(peer, send, SendBlock(peer, frame, block.id, block.offset + send.next, nbytes), nbytes)
        while send.next < send.size and send.unsent < self._pieces_ahead:
            frame, nbytes = self._part(send, min(self._piece_bytes, send.size - send.next), piece=True)
            self._begin(peer, send, SendSpilled(peer, frame, send.entry.spill_key, nbytes), nbytes)

    @staticmethod
    def _part(send: Send, nbytes: int, piece: bool = False) -> tuple[frames.Data, int]:
        """Return the frame of a dataset's next bytes. A frame with the whole dataset has start and size 0."""
        whole = nbytes == send.size and not piece
        start, size = (0, 0) if whole else (send.next, send.size)
        return frames.Data(send.job.name, send.entry.dataset, send.attempt, start, size), nbytes

    def _begin(self, peer: int, send: Send, action: SendBlock | SendSpilled, nbytes: int) -> None:
        self._actions.append(action)
        self._bytes[peer] = self._bytes.get(peer, 0) + nbytes
        send.next += nbytes
        send.unsent += 1

    def sent(self, peer: int, frame: frames.Data, nbytes: int) -> None:
        """Note that a part was sent, or that its link ended."""
        key = peer, frame.job, frame.dataset
        send = self._under_way.get(key)
        if send is None:
            return
        self._bytes[peer] -= nbytes
        send.unsent -= 1
        if not send.lost:
            self._go_on(peer, send)
        if not send.unsent:
            self._end(key, send)
        self._next(peer)

    def _end(self, key: Key, send: Send) -> None:
        del self._under_way[key]
        send.entry.sending -= 1
        if send.lost:
            self._outgoing.gone(*key)
        if not self._bytes[key[0]]:
            del self._bytes[key[0]]

    def unreadable(self, entry: Entry) -> None:
        """Stop the sends of a dataset that cannot be read from disk."""
        for send in self._under_way.values():
            if send.entry is entry:
                send.lost = True

    def left(self, peer: int) -> None:
        """Stop sending to a peer whose link ended. `sent` is still called for each part under way."""
        for send in self._waiting.pop(peer, ()):
            send.entry.owed -= 1
        for key, send in self._under_way.items():
            if key[0] == peer:
                send.next, send.lost = send.size, True
