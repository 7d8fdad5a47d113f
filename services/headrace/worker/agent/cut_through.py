"""Blocks that are sent to peers in pieces, even while they are still being filled.

    pieces arrive ---> block [ filled | missing ] ---> pieces leave as soon as they are filled

The peers can pass each piece on as soon as they have it. A piece that is being sent holds its block, so the memory stays until the piece is
sent, even if the dataset is dropped in the meantime.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.link import frames
from headrace.worker.agent.actions import Action, SendBlock
from headrace.worker.agent.jobs import Entry
from headrace_shm import Block, Store


class Taker:
    """A peer that receives a block in pieces."""

    __slots__ = ("block", "entry", "job", "next", "unsent")

    def __init__(self, job: str, entry: Entry, block: Block[int], start: int) -> None:
        self.job = job
        self.entry = entry
        self.block = block
        self.next = start
        """The first byte of which no send has begun."""
        self.unsent = 0
        """The number of pieces whose sends have begun and not ended."""


class CutThrough:
    """The peers that receive blocks in pieces. Appends actions to the list it was given."""

    def __init__(self, store: Store[int], actions: list[Action], piece_bytes: int) -> None:
        self._store = store
        self._actions = actions
        self._piece_bytes = piece_bytes
        self._takers: dict[int, dict[int, Taker]] = {}
        """The peers that receive each block, by block and peer."""

    def begin(self, peer: int, taker: Taker, filled: int) -> None:
        """Begin to send a block, of which `filled` bytes are here, to a peer. A second call for the same peer and block does nothing."""
        takers = self._takers.setdefault(taker.block.id, {})
        if peer not in takers:
            takers[peer] = taker
            taker.entry.sending += 1
            self._send(peer, taker, filled)

    def filled(self, block: Block[int], nbytes: int) -> None:
        """Send more of a block, of which `nbytes` bytes are here now."""
        for peer, taker in self._takers.get(block.id, {}).items():
            self._send(peer, taker, nbytes)

    def _send(self, peer: int, taker: Taker, filled: int) -> None:
        """Send the bytes that are here in pieces. Only the last piece may be short."""
        block = taker.block
        while taker.next < filled and (filled == block.nbytes or filled - taker.next >= self._piece_bytes):
            nbytes = min(self._piece_bytes, filled - taker.next)
            self._store.hold(block.key, ("peer", peer), unsealed=True)
            data = frames.Data(taker.job, taker.entry.dataset, taker.entry.attempt, taker.next, block.nbytes)
            self._actions.append(SendBlock(peer, data, block.id, block.offset + taker.next, nbytes))
            taker.next += nbytes
            taker.unsent += 1

    def takes(self, peer: int, block_id: int) -> bool:
        """Return whether a peer receives a block in pieces."""
        return peer in self._takers.get(block_id, ())

    def sent(self, peer: int, block_id: int) -> None:
        """Note that a piece was sent, or that its link ended."""
        taker = self._takers.get(block_id, {}).get(peer)
        if taker is not None:
            taker.unsent -= 1
            if not taker.unsent and taker.next == taker.block.nbytes:
                self._end(peer, block_id)

    def give_up(self, block: Block[int]) -> Iterator[int]:
        """Stop sending a block that will not be filled. Yield the peers that received it, which must be told."""
        for peer in list(self._takers.get(block.id, ())):
            self._end(peer, block.id)
            yield peer

    def left(self, peer: int) -> None:
        """Stop sending to a peer whose link ended."""
        for block_id in [block_id for block_id, takers in self._takers.items() if peer in takers]:
            self._end(peer, block_id)

    def _end(self, peer: int, block_id: int) -> None:
        takers = self._takers[block_id]
        takers.pop(peer).entry.sending -= 1
        if not takers:
            del self._takers[block_id]
