"""The datasets of a host: those that are here, those that are awaited, and the segments that wait for them.

`dataset_state.py` names the states of a dataset, and the transitions between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.runner import protocol
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.jobs import Entry, HostJob, Segment
from headrace.worker.agent.memory import Memory
from headrace.worker.agent.serving import LINK, Serving
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.agent.spilling import Spilling
from headrace.worker.settings import Settings
from headrace_shm import Block, Store


class Datasets:
    """The dataset entries of all jobs. memory, serving: are told of changes that concern them."""

    def __init__(self, memory: Memory, serving: Serving, settings: Settings) -> None:
        self._memory = memory
        self._serving = serving
        self._grants: Grants = memory.grants
        self._disk: Spilling = memory.disk
        self._store: Store[int] = memory.store
        self._most_parked = settings.parked_segments

    # --- arrivals -----------------------------------------------------------------------------------------------------

    def values(self, job: HostJob, values: Mapping[int, bytes], attempts: Mapping[int, int], made: bool = False) -> list[Segment]:
        """Store small datasets. Return the segments that now have all their inputs. attempts: empty if all are 0.

        made: whether this host made them. It then keeps them for other hosts, even if it had asked another host for them before.
        """
        entries = job.entries
        ready: list[Segment] = []
        for dataset, value in values.items():
            entry = entries.get(dataset)
            if entry is None:
                entry = entries[dataset] = Entry(dataset)
            else:
                if made:
                    entry.source = ""
                if entry.value is not None or entry.block is not None or entry.spill_key:
                    continue
            entry.value = value
            if attempts:
                entry.attempt = attempts[dataset]
            if entry.wanted_by:
                self._serving.serve_waiting(job, entry)
            if entry.waiters:
                ready += self._woken(entry)
        job.dropped.difference_update(values)
        return ready

    def stored(self, job: HostJob, dataset: int, attempt: int, block: Block[int]) -> list[Segment]:
        """Seal the block of a large dataset that is complete. Return the segments that now have all their inputs."""
        entry = job.entry(dataset)
        if entry.granted is block:
            entry.granted = entry.claim = None
            self._grants.transfers -= block.writer == LINK
        self._store.seal(block.key)
        if entry.here:  # another attempt came first
            self._store.purge(block.key)
            self._serving.abandon(job, entry, block)
            return []
        entry.block = block
        entry.nbytes = block.nbytes
        self._grants.progress += 1
        self._disk.add(job, entry)
        self._serving.cut_through.filled(block, block.nbytes)
        return self._arrived(job, entry, attempt)

    def _arrived(self, job: HostJob, entry: Entry, attempt: int) -> list[Segment]:
        entry.attempt = attempt
        job.dropped.discard(entry.dataset)
        self._serving.serve_waiting(job, entry)
        return self._woken(entry)

    def _woken(self, entry: Entry) -> list[Segment]:
        """Count an arrived dataset for the segments that wait for it. Return those that now have all their inputs."""
        waiters, entry.waiters = entry.waiters, ()
        ready = []
        for segment in waiters:
            segment.missing -= 1
            if not segment.missing:
                ready.append(segment)
        if self._disk.parked:
            self._disk.parked.difference_update(ready)
        return ready

    # --- the disk -----------------------------------------------------------------------------------------------------

    def spilled(self, key: str, ok: bool, trouble: str = "") -> None:
        """Note that a dataset was written to disk, or that the write failed. trouble: why it failed."""
        self._grants.progress += 1
        self._disk.spilled(key, ok, trouble)

    def restored(self, key: str, ok: bool) -> list[Segment]:
        """Note that a dataset was read from disk, or that the read failed. Return the segments that now have all their inputs."""
        self._grants.progress += 1
        held = self._disk.restored(key)
        if held is None:
            return []
        job, entry = held
        entry.claim = None
        if not ok:
            self._lose(job, entry)
            return []
        self._disk.add(job, entry)
        return self._woken(entry)

    def unreadable(self, key: str) -> None:
        """Give up the dataset that is on disk under a key, because it cannot be read."""
        held = self._disk.found(key)
        if held is not None:
            self._lose(*held)

    def _lose(self, job: HostJob, entry: Entry) -> None:
        """Report a dataset on disk as gone, so that it is made again, and tell the peers that wait for it."""
        self._disk.forget(entry)
        if entry.block is not None:
            self._store.purge(entry.block.key)
            entry.block = None
        entry.restoring = False
        for segment in entry.waiters:  # they wait for a new copy, and no longer for the disk
            self._disk.unpin(segment)
        self._serving.sending.unreadable(entry)
        job.report.gone(entry.dataset)
        if job.ended:  # no task makes it again
            del job.entries[entry.dataset]
            job.dropped.add(entry.dataset)

    def may_park(self) -> bool:
        """Return whether one more segment may wait for inputs from disk."""
        return len(self._disk.parked) < self._most_parked

    def prepare(self, segment: Segment) -> bool:
        """Pin the inputs of a segment that is about to run. Return False if some are on disk.

        They are then read back, and the segment becomes ready again when they are here.
        """
        if self._disk.unused:
            return True
        if self._disk.empty or all(entry.spill_key == "" or entry.block is not None for entry in segment.entries):
            self._disk.pin(segment)
            return True
        for entry in self._disk.park(segment):
            segment.missing += 1
            entry.wait(segment)
            self._memory.bring_back(segment.chain.job, entry, segment.chain.order)
        return False

    def unpin(self, segments: Iterable[Segment]) -> None:
        """Unpin the inputs of segments that will not run soon."""
        for segment in segments:
            self._disk.unpin(segment)

    def dispatched(self, segments: Iterable[Segment]) -> None:
        """Unpin the inputs of segments that were sent to their runner, which holds the inputs from now on."""
        for segment in segments:
            if segment.pinned:
                self._disk.unpin(segment)

    # --- uses ---------------------------------------------------------------------------------------------------------

    def use(self, job: HostJob, segments: Iterable[Segment]) -> None:
        """Count the inputs of segments as used, and as missing if they are not here."""
        entries = job.entries
        for segment in segments:
            if not segment.inputs:
                continue
            segment.entries = [entries[dataset] if dataset in entries else job.entry(dataset) for dataset in segment.inputs]
            for entry in segment.entries:
                entry.uses += 1
                if entry.value is None and entry.block is None and not entry.spill_key:
                    segment.missing += 1
                    entry.wait(segment)
                    if not entry.source and entry.dataset in job.dropped:
                        job.report.gone(entry.dataset)  # the scheduler had not read that it was purged

    def unuse(self, job: HostJob, segments: Iterable[Segment]) -> None:
        """Count the inputs of ended segments as unused. The last use of a small copy from another host drops the copy."""
        for segment in segments:
            if segment.pinned or self._disk.parked:
                self._disk.unpin(segment)
            for entry in segment.entries:
                entry.uses -= 1
                if entry.uses:
                    continue
                if entry.block is not None:
                    job.report.frees_memory()
                elif entry.source and entry.value is not None and not entry.wanted_by:
                    del job.entries[entry.dataset]

    def locate(self, entry: Entry, runner: RunnerSlot) -> protocol.Location:
        """Return where a dataset is in the arena, and count the runner's mapping of it."""
        block = entry.block
        assert block is not None
        self._store.hold(block.key, runner.client)
        self._disk.touch(block)
        return (block.id, block.offset, block.nbytes)

    # --- the end of datasets ------------------------------------------------------------------------------------------

    def purge(self, job: HostJob, datasets: Iterable[int]) -> list[int]:
        """Drop copies of datasets. Return the datasets that this host still needs."""
        kept, dropped = [], []
        for dataset in datasets:
            entry = job.entries.get(dataset)
            if entry is None:
                continue
            if entry.uses or entry.wanted_by or entry.sending or entry.owed:
                kept.append(dataset)
                continue
            self._discard(job, entry)
            del job.entries[dataset]
            dropped.append(dataset)
        job.dropped.update(dropped)
        return kept

    def _discard(self, job: HostJob, entry: Entry) -> None:
        if entry.value is not None and entry.granted is None:
            return
        self._disk.forget(entry)
        if entry.block is not None:
            self._store.purge(entry.block.key)
            self._grants.progress += 1
        self._grants.take_back(job, entry)

    def drop_job(self, job: HostJob, keep_outputs: bool) -> None:
        """Drop the datasets of a job that is over.

        keep_outputs: keep the large outputs, which clients may fetch. The log has the small ones.
        """
        kept = {}
        for dataset, entry in job.entries.items():
            entry.waiters = ()
            if keep_outputs and (entry.block is not None or entry.spill_key) and job.is_held[dataset]:
                entry.uses = entry.pins = 0
                kept[dataset] = entry
            else:
                self._discard(job, entry)
        job.entries = kept
        if self._disk.parked:
            self._disk.parked = {segment for segment in self._disk.parked if segment.chain.job is not job}
        self._memory.drop_job(job)

    def begin_again(self, job: HostJob) -> None:
        """Keep a job's datasets that are here, and drop what was still to come, because a new epoch begins.

        No host or task waits for datasets from here any more. Small copies from other hosts are dropped, because only the tasks that used
        them know of them.
        """
        for entry in list(job.entries.values()):
            self._grants.take_back(job, entry)
            entry.waiters, entry.wanted_by, entry.broadcast = (), (), None
            entry.uses = entry.pins = entry.owed = 0
            entry.asked, entry.offered, entry.restoring = False, "", self._disk.reads(entry)
            if not entry.here or (entry.source and entry.value is not None):
                self._discard(job, entry)
                del job.entries[entry.dataset]
            entry.source = ""
