"""Datasets that leave in pieces, so that those who take them can pass them on; also out of a block that is still being filled.

    pieces come in ---> block [ filled | not yet ] ---> pieces go out, each as soon as it is there

A piece that is to go out holds its block, so the memory stays until it has gone, whatever becomes of the dataset meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.link import frames
from headrace.worker.agent.actions import Action, SendBlock
from headrace.worker.agent.jobs import Entry
from headrace_shm import Block, Store


class Taker:
    """A peer that a block goes to in pieces."""

    __slots__ = ("block", "entry", "job", "next", "unsent")

    def __init__(self, job: str, entry: Entry, block: Block[int], start: int) -> None:
        self.job = job
        self.entry = entry
        self.block = block
        self.next = start
        """The first byte that is not on its way yet."""
        self.unsent = 0
        """Pieces on their way that are not written yet."""


class CutThrough:
    """Who takes which block in pieces. Appends actions to the list it was given."""

    def __init__(self, store: Store[int], actions: list[Action], piece_bytes: int) -> None:
        self._store = store
        self._actions = actions
        self._piece_bytes = piece_bytes
        self._takers: dict[int, dict[int, Taker]] = {}
        """By block and peer."""

    def begin(self, peer: int, taker: Taker, filled: int) -> None:
        """A peer takes a block of which `filled` bytes are there; what comes later is told by `filled`. Asked twice, it is sent once."""
        takers = self._takers.setdefault(taker.block.id, {})
        if peer not in takers:
            takers[peer] = taker
            taker.entry.sending += 1
            self._send(peer, taker, filled)

    def filled(self, block: Block[int], nbytes: int) -> None:
        """So many bytes of a block are there now."""
        for peer, taker in self._takers.get(block.id, {}).items():
            self._send(peer, taker, nbytes)

    def _send(self, peer: int, taker: Taker, filled: int) -> None:
        """Send what is there, in pieces; a short one only at the end."""
        block = taker.block
        while taker.next < filled and (filled == block.nbytes or filled - taker.next >= self._piece_bytes):
            nbytes = min(self._piece_bytes, filled - taker.next)
            self._store.hold(block.key, ("peer", peer), unsealed=True)
            data = frames.Data(taker.job, taker.entry.dataset, taker.entry.attempt, taker.next, block.nbytes)
            self._actions.append(SendBlock(peer, data, block.id, block.offset + taker.next, nbytes))
            taker.next += nbytes
            taker.unsent += 1

    def takes(self, peer: int, block_id: int) -> bool:
        """Whether a block goes to a peer in pieces."""
        return peer in self._takers.get(block_id, ())

    def sent(self, peer: int, block_id: int) -> None:
        """A piece is out, or its link is gone."""
        taker = self._takers.get(block_id, {}).get(peer)
        if taker is not None:
            taker.unsent -= 1
            if not taker.unsent and taker.next == taker.block.nbytes:
                self._end(peer, block_id)

    def give_up(self, block: Block[int]) -> Iterator[int]:
        """The rest of a block will not come. Gives the peers that are to be told."""
        for peer in list(self._takers.get(block.id, ())):
            self._end(peer, block.id)
            yield peer

    def left(self, peer: int) -> None:
        """A link is gone."""
        for block_id in [block_id for block_id, takers in self._takers.items() if peer in takers]:
            self._end(peer, block_id)

    def _end(self, peer: int, block_id: int) -> None:
        takers = self._takers[block_id]
        takers.pop(peer).entry.sending -= 1
        if not takers:
            del self._takers[block_id]
