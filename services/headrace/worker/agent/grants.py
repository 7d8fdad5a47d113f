"""Blocks that were granted for datasets and are not sealed yet: a runner or a link may be writing to them.

granted ---> written completely ---> the dataset's block
|
+---> taken back: an orphan until its writer has stopped writing, then free
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from headrace.link import frames
from headrace.worker.agent.jobs import Entry, HostJob
from headrace.worker.agent.serving import LINK, Serving
from headrace.worker.agent.slabs import Slabs
from headrace.worker.agent.slots import RunnerSlot
from headrace_shm import Block, Store


class Grants:
    """The blocks that runners and links write to. serving: is told of blocks that will not be filled."""

    def __init__(self, store: Store[int], serving: Serving) -> None:
        self.slabs = Slabs(store)
        self._store = store
        self._serving = serving
        self.progress = 0
        """Counts the changes after which waiting claims may succeed."""
        self.transfers = 0
        """The number of datasets that other hosts are to send into granted blocks and that have not arrived."""
        self._orphans: dict[Hashable, dict[int, int]] = {}
        """Blocks that were taken back, but to which a runner may still write: by runner and block, the job's number."""
        self._arriving: dict[str, tuple[Entry, Block[int]]] = {}
        """Blocks that a link writes to right now, by the host at its other end, with their entries. They must not be granted again
        meanwhile."""

    def take_back(self, job: HostJob, entry: Entry) -> None:
        """Take back the block that was granted for a dataset. It is free once no runner or link can be writing to it."""
        block, entry.granted, entry.filled = entry.granted, None, 0
        if block is None:
            return
        if block.writer != LINK:
            self._store.purge(block.key)
            self._orphans.setdefault(block.writer, {})[block.id] = job.number
            return
        self.transfers -= 1
        self._serving.abandon(job, entry, block)
        if not any(arriving is block for _, arriving in self._arriving.values()):
            self._store.abort(block.id)
            self.progress += 1

    # --- runners ------------------------------------------------------------------------------------------------------

    def made(self, job: HostJob, dataset: int, block_id: int, runner: RunnerSlot) -> Block[int] | None:
        """Return the block that a runner wrote a dataset to: its slab or the granted block. None if it was taken back in the meantime."""
        slab = self.slabs.take(runner.client, block_id)
        if slab is not None:
            return slab
        entry = job.entries.get(dataset)
        room = entry.granted if entry is not None else None
        return room if room is not None and room.id == block_id and room.writer == runner.client else None

    def written(self, runner: RunnerSlot, block_id: int) -> None:
        """Free an orphan, because its runner has stopped writing to it."""
        if self._orphans.get(runner.client, {}).pop(block_id, None) is not None:
            self._store.abort(block_id)
            self.progress += 1

    def drop_slabs(self, runner: RunnerSlot, values: Iterable[object]) -> None:
        """Free the slabs among the results of a job that is over."""
        for value in values:
            if isinstance(value, int) and self.slabs.drop(runner.client, value):
                self.progress += 1

    def has_orphans(self, runner: RunnerSlot) -> bool:
        """Return whether there are blocks that become free once the runner says that it does not write to them."""
        return bool(self._orphans and self._orphans.get(runner.client))

    def closed(self, runner: RunnerSlot, job_number: int) -> None:
        """Free the orphans of a job, because a runner writes nothing for the job any more."""
        orphans = self._orphans.get(runner.client, {})
        for block_id in [block_id for block_id, number in orphans.items() if number == job_number]:
            self.written(runner, block_id)

    def runner_died(self, runner: RunnerSlot, entries: Iterable[Entry]) -> None:
        """Free what a dead runner held and wrote. Results that waited there are lost. entries: all entries of all jobs."""
        self._store.client_died(runner.client)
        for entry in entries:
            if entry.granted is not None and entry.granted.writer == runner.client:
                entry.granted = None
        self.slabs.runner_died(runner.client)
        self._orphans.pop(runner.client, None)
        self.progress += 1

    # --- links --------------------------------------------------------------------------------------------------------

    def arriving(self, host: str, entry: Entry | None, frame: frames.Data, nbytes: int) -> Block[int] | None:
        """Return the granted block for bytes that begin to arrive from a host. None if there is none."""
        block = entry.granted if entry is not None else None
        if entry is None or block is None or block.writer != LINK or block.nbytes != (frame.size or nbytes):
            return None
        if frame.size and not self._continues(host, entry, frame, nbytes):
            return None
        self._arriving[host] = entry, block
        return block

    @staticmethod
    def _continues(host: str, entry: Entry, frame: frames.Data, nbytes: int) -> bool:
        """Return whether a piece leaves no gap after the bytes that are here, and is of the same attempt. A repeated piece does no harm."""
        same = not entry.filled or frame.attempt == entry.attempt
        return same and entry.source == host and frame.start <= entry.filled and frame.start + nbytes <= frame.size

    def arrived(self, host: str) -> Block[int] | None:
        """Return the block that the link to a host has stopped writing to. None if there was none, or if it was taken back.

        A block that was taken back is freed.
        """
        entry, block = self._arriving.pop(host, (None, None))
        if entry is None or block is None or entry.granted is block:
            return block
        self._store.abort(block.id)
        self.progress += 1
        return None

    def fill(self, entry: Entry, block: Block[int], frame: frames.Data, nbytes: int) -> bool:
        """Note that bytes were written to a dataset's block. Return whether the block is full."""
        entry.attempt, entry.filled = frame.attempt, max(entry.filled, frame.start + nbytes)
        if entry.filled < block.nbytes:
            self._serving.cut_through.filled(block, entry.filled)
        return entry.filled == block.nbytes
