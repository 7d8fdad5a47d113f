"""Memory that was granted for datasets and is not theirs for good yet: a runner or a link may be writing to it.

granted ---> written whole ---> the dataset's block
|
+---> taken back: free once its writer is known to be through with it, an orphan until then
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
    """The blocks that runners and links write to. serving: hears of blocks that will not be filled."""

    def __init__(self, store: Store[int], serving: Serving) -> None:
        self.slabs = Slabs(store)
        self._store = store
        self._serving = serving
        self.progress = 0
        """Counts what changed for claims to be looked at again."""
        self.transfers = 0
        """Datasets granted to other hosts and not here yet."""
        self._orphans: dict[Hashable, dict[int, int]] = {}
        """Blocks whose datasets are not wanted any more, but to which a runner may still write: by runner, with the job's number."""
        self._arriving: dict[str, tuple[Entry, Block[int]]] = {}
        """Blocks that a link writes to right now, and what for, by the host at its other end: not to be given to anyone else meanwhile."""

    def take_back(self, job: HostJob, entry: Entry) -> None:
        """The room that a dataset was granted is not needed; it is free once nobody can be writing to it any more."""
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
        """What a runner says to have written a dataset to: a slab of its, or the room that it was granted. None if it has that no more."""
        slab = self.slabs.take(runner.client, block_id)
        if slab is not None:
            return slab
        entry = job.entries.get(dataset)
        room = entry.granted if entry is not None else None
        return room if room is not None and room.id == block_id and room.writer == runner.client else None

    def written(self, runner: RunnerSlot, block_id: int) -> None:
        """A runner is through with a block; if nobody wants it any more, it is free."""
        if self._orphans.get(runner.client, {}).pop(block_id, None) is not None:
            self._store.abort(block_id)
            self.progress += 1

    def drop_slabs(self, runner: RunnerSlot, values: Iterable[object]) -> None:
        """Results came for a job that is over: the slabs among them are free."""
        for value in values:
            if isinstance(value, int) and self.slabs.drop(runner.client, value):
                self.progress += 1

    def has_orphans(self, runner: RunnerSlot) -> bool:
        """Whether there is room that is free once the runner says that it does not write there."""
        return bool(self._orphans and self._orphans.get(runner.client))

    def closed(self, runner: RunnerSlot, job_number: int) -> None:
        """A runner writes nothing more for a job."""
        orphans = self._orphans.get(runner.client, {})
        for block_id in [block_id for block_id, number in orphans.items() if number == job_number]:
            self.written(runner, block_id)

    def runner_died(self, runner: RunnerSlot, entries: Iterable[Entry]) -> None:
        """A runner is gone: what it held and wrote is free, and results that waited there are lost. entries: all there are."""
        self._store.client_died(runner.client)
        for entry in entries:
            if entry.granted is not None and entry.granted.writer == runner.client:
                entry.granted = None
        self.slabs.runner_died(runner.client)
        self._orphans.pop(runner.client, None)
        self.progress += 1

    # --- links --------------------------------------------------------------------------------------------------------

    def arriving(self, host: str, entry: Entry | None, frame: frames.Data, nbytes: int) -> Block[int] | None:
        """The bytes of a dataset, or of a piece, begin to come from a host: the room that the dataset was granted, or None."""
        block = entry.granted if entry is not None else None
        if entry is None or block is None or block.writer != LINK or block.nbytes != (frame.size or nbytes):
            return None
        if frame.size and not self._continues(host, entry, frame, nbytes):
            return None
        self._arriving[host] = entry, block
        return block

    @staticmethod
    def _continues(host: str, entry: Entry, frame: frames.Data, nbytes: int) -> bool:
        """Whether a piece leaves no gap, and is of what is there already: then a piece that comes twice does no harm."""
        same = not entry.filled or frame.attempt == entry.attempt
        return same and entry.source == host and frame.start <= entry.filled and frame.start + nbytes <= frame.size

    def arrived(self, host: str) -> Block[int] | None:
        """The link to a host writes no more, for it is through or has ended. Returns the room that it wrote to; None if there was none, or
        if it is not needed any more: then it is free now."""
        entry, block = self._arriving.pop(host, (None, None))
        if entry is None or block is None or entry.granted is block:
            return block
        self._store.abort(block.id)
        self.progress += 1
        return None

    def fill(self, entry: Entry, block: Block[int], frame: frames.Data, nbytes: int) -> bool:
        """Bytes of a dataset have come into its room. Returns whether that were all."""
        entry.attempt, entry.filled = frame.attempt, max(entry.filled, frame.start + nbytes)
        if entry.filled < block.nbytes:
            self._serving.cut_through.filled(block, entry.filled)
        return entry.filled == block.nbytes
