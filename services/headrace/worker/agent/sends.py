"""Datasets on their way to peers that have room for them: from memory as they are, or in pieces straight from disk.

    granted ---> waiting, in order ---> under way ---> out
                    |                      |
                    +--- the peer left, or the dataset was lost: told so, and forgotten

A peer is sent little at a time, so that one that reads slowly, or not at all, keeps little of the store: what waits for its turn may go
to disk meanwhile. From there it is sent in pieces, which take no room in the store; so what a peer asks for never waits for memory.
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
    """A dataset for a peer. next: the first of its bytes that is not under way yet."""

    __slots__ = ("attempt", "entry", "job", "lost", "next", "size", "unsent")

    def __init__(self, job: HostJob, entry: Entry, start: int) -> None:
        self.job = job
        self.entry = entry
        self.next = start
        self.size = entry.nbytes
        self.attempt = entry.attempt
        self.unsent = 0
        """Parts under way."""
        self.lost = False
        """Whether the rest of it cannot be sent."""

    @property
    def there(self) -> bool:
        """Whether the dataset is still what was granted."""
        entry = self.entry
        return (
            self.job.entries.get(entry.dataset) is entry
            and entry.attempt == self.attempt
            and (entry.block is not None or entry.spill_key != "")
        )


Key = tuple[int, str, int]
"""A peer, a job and a dataset."""


class Sends:
    """What peers are sent, and what waits for that. Appends actions to the list it was given."""

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
        """Under way, by peer."""

    def __len__(self) -> int:
        """How many datasets are under way or wait for it."""
        return len(self._under_way) + sum(map(len, self._waiting.values()))

    def grant(self, peer: int, job: HostJob, entry: Entry, start: int = 0) -> None:
        """A peer has room for a dataset, of which it has the first `start` bytes. Granted twice, it is sent once."""
        waiting = self._waiting.get(peer, ())
        if (peer, job.name, entry.dataset) in self._under_way or any(send.entry is entry for send in waiting):
            return
        entry.owed += 1
        self._waiting.setdefault(peer, deque()).append(Send(job, entry, start))
        self._next(peer)

    def _next(self, peer: int) -> None:
        """Begin to send what waits, as far as the peer's window goes."""
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
        """The frame of the next bytes of a dataset. All of it at once is said without a start and a size."""
        whole = nbytes == send.size and not piece
        start, size = (0, 0) if whole else (send.next, send.size)
        return frames.Data(send.job.name, send.entry.dataset, send.attempt, start, size), nbytes

    def _begin(self, peer: int, send: Send, action: SendBlock | SendSpilled, nbytes: int) -> None:
        self._actions.append(action)
        self._bytes[peer] = self._bytes.get(peer, 0) + nbytes
        send.next += nbytes
        send.unsent += 1

    def sent(self, peer: int, frame: frames.Data, nbytes: int) -> None:
        """A part of a dataset is out, or its link is gone."""
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
        """A dataset cannot be read from disk: its peers will not have the rest of it."""
        for send in self._under_way.values():
            if send.entry is entry:
                send.lost = True

    def left(self, peer: int) -> None:
        """A link is gone: nothing more is sent there. What is under way is told of by `sent`."""
        for send in self._waiting.pop(peer, ()):
            send.entry.owed -= 1
        for key, send in self._under_way.items():
            if key[0] == peer:
                send.next, send.lost = send.size, True
