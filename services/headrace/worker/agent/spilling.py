"""Datasets that go to disk when memory is short, and come back when they are needed.

    in memory --Spill--> being written --spilled--> on disk --Restore--> being read --restored--> in memory
                 |                                     |
                 +-- used or purged in the meantime: the copy on disk is deleted, nothing else changes

If a write fails, the dataset stays in memory, and nothing is written during a pause. The pause doubles with each failure, up to
`Settings.longest_spill_pause_seconds`, and ends with the first write that succeeds. So a full disk, or a folder that vanished, is tried
again now and then.

The least recently used dataset is written first. The inputs of a segment that is about to run are pinned until its runner holds them, so
that reading one of them back never evicts another. If the inputs of several such segments do not fit into memory together, only the
earliest segment keeps its inputs pinned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from headrace.worker.agent.actions import Action, Restore, Spill, Unspill
from headrace.worker.agent.jobs import Entry, HostJob, Segment
from headrace.worker.settings import Settings
from headrace_shm import Block, Store

DISK = ("disk",)
"""The holder of blocks that are written to disk or read from it, in the store's books."""


class Spilling:
    """The datasets that are on disk, or on their way. Appends actions to the list it was given.

    spills: whether datasets may be written at all. now: the time, by the clock of `Agent.tick`. trouble: why the last write failed; empty
    once a write succeeds.
    """

    def __init__(self, store: Store[int], actions: list[Action], spills: bool, settings: Settings) -> None:
        self.spills = spills
        self.now = 0.0
        self.trouble = ""
        self._settings = settings
        self._failures = 0
        self._paused_until = -math.inf
        self._store = store
        self._actions = actions
        self.resident: dict[int, tuple[HostJob, Entry]] = {}
        """Entries in memory that may go to disk, by block id, least recently used first."""
        self._keys: dict[str, tuple[HostJob, Entry]] = {}
        """Entries that are on disk, being written or being read."""
        self._writing: dict[str, Block[int]] = {}
        self._reading: dict[str, Block[int]] = {}
        self._bytes_writing = 0
        self.parked: set[Segment] = set()
        """Segments that wait for inputs from disk."""
        self.spilled_bytes = 0
        """Bytes written so far, for metrics."""
        self.restored_bytes = 0
        """Bytes read back so far."""

    @property
    def enabled(self) -> bool:
        """Whether datasets may be written now."""
        return self.spills and self.now >= self._paused_until

    @property
    def busy(self) -> bool:
        """Whether a write or a read is under way, so that memory is freed or a dataset returns soon."""
        return bool(self._writing or self._reading)

    @property
    def empty(self) -> bool:
        """Whether nothing is on disk."""
        return not self._keys

    @property
    def unused(self) -> bool:
        """Whether nothing is on disk and nothing may go there, so that no inputs need to be pinned."""
        return not self._keys and not self.resident

    @property
    def held_bytes(self) -> int:
        """Bytes of the datasets that are on disk and not in memory."""
        return sum(entry.nbytes for _, entry in self._keys.values() if entry.block is None)

    # --- in memory ---------------------------------------------------------------------------------------------------

    def add(self, job: HostJob, entry: Entry) -> None:
        """Add a dataset in memory, which may go to disk from now on."""
        if self.spills and entry.block is not None:
            self.resident[entry.block.id] = (job, entry)

    def found(self, key: str) -> tuple[HostJob, Entry] | None:
        """Return the dataset that is on disk under a key; None if it was dropped."""
        return self._keys.get(key)

    def reads(self, entry: Entry) -> bool:
        """Return whether a dataset is being read from disk."""
        return entry.spill_key in self._reading

    def is_reading(self, key: str) -> bool:
        """Return whether the dataset under a key is being read from disk."""
        return key in self._reading

    def touch(self, block: Block[int]) -> None:
        """Mark a dataset as the most recently used one."""
        held = self.resident.pop(block.id, None)
        if held is not None:
            self.resident[block.id] = held

    def forget(self, entry: Entry) -> None:
        """Forget a dataset that is dropped, and delete its copy on disk."""
        if entry.block is not None:
            self.resident.pop(entry.block.id, None)
        key, entry.spill_key = entry.spill_key, ""
        if key:
            self._keys.pop(key, None)
            if key not in self._writing and key not in self._reading:
                self._actions.append(Unspill(key))

    # --- to disk ------------------------------------------------------------------------------------------------------

    def make_room(self, wanted: int) -> None:
        """Begin to write datasets to disk, until `wanted` bytes and the headroom will be free."""
        if not self.enabled:
            return
        missing = wanted + int(self._settings.spill_headroom_share * self._store.capacity) - self._store.free
        short = min(missing, self._settings.spill_bytes) - self._bytes_writing
        if short <= 0:
            return
        for job, entry in self._victims(short):
            self._spill(job, entry)

    def _victims(self, nbytes: int) -> list[tuple[HostJob, Entry]]:
        found = []
        for job, entry in self._candidates():
            if nbytes <= 0:
                break
            found.append((job, entry))
            nbytes -= entry.nbytes
        return found

    def _candidates(self) -> Iterator[tuple[HostJob, Entry]]:
        for job, entry in self.resident.values():
            block = entry.block
            if block is not None and not block.holds and not entry.pins and not entry.sending:
                yield job, entry

    def _spill(self, job: HostJob, entry: Entry) -> None:
        block = entry.block
        assert block is not None
        del self.resident[block.id]
        self._store.hold(block.key, DISK)
        entry.spill_key = f"{block.id}"
        self._keys[entry.spill_key] = (job, entry)
        self._writing[entry.spill_key] = block
        self._bytes_writing += block.size
        self._actions.append(Spill(entry.spill_key, block.id, block.offset, block.nbytes))

    def spilled(self, key: str, ok: bool, trouble: str = "") -> None:
        """Note that a block was written, or that the write failed. trouble: why it failed.

        After a failure, the block stays in memory and a pause begins.
        """
        block = self._writing.pop(key)
        self._bytes_writing -= block.size
        self._store.release(block.id, DISK)
        self._note(ok, trouble)
        held = self._keys.get(key)
        if held is None:  # purged during the write
            self._actions.append(Unspill(key))
            return
        job, entry = held
        if ok and not block.holds and not entry.pins and not entry.sending:
            self._store.purge(block.key)
            entry.block = None
            self.spilled_bytes += block.nbytes
            return
        del self._keys[key]
        entry.spill_key = ""
        self.add(job, entry)
        if ok:
            self._actions.append(Unspill(key))

    def _note(self, ok: bool, trouble: str) -> None:
        """Begin a pause after a failure, or end it after a success. Writes that fail during a pause do not extend it."""
        if ok:
            self.trouble, self._failures, self._paused_until = "", 0, -math.inf
        elif self.enabled:
            self.trouble = trouble
            seconds = self._settings.spill_pause_seconds * 2.0**self._failures
            self._paused_until = self.now + min(seconds, self._settings.longest_spill_pause_seconds)
            self._failures += 1

    # --- from disk ----------------------------------------------------------------------------------------------------

    def read(self, entry: Entry, block: Block[int]) -> None:
        """Begin to read a dataset from disk into its granted block."""
        self._reading[entry.spill_key] = block
        self._actions.append(Restore(entry.spill_key, block.id, block.offset, block.nbytes))

    def unread(self, key: str) -> Entry | None:
        """Abort the read of a dataset because shared memory is full: it stays on disk. Return None if it was purged in the meantime."""
        self._store.abort(self._reading.pop(key).id)
        held = self._keys.get(key)
        if held is None:
            self._actions.append(Unspill(key))
        return None if held is None else held[1]

    def restored(self, key: str) -> tuple[HostJob, Entry] | None:
        """Note that a read has ended, well or not. Return the dataset; None if it was purged in the meantime."""
        block = self._reading.pop(key)
        held = self._keys.pop(key, None)
        self._actions.append(Unspill(key))
        if held is None:
            self._store.abort(block.id)
            return None
        _, entry = held
        entry.spill_key, entry.restoring = "", False
        self._store.seal(block.key)
        entry.block = block
        self.restored_bytes += block.nbytes
        return held

    # --- segments that wait ------------------------------------------------------------------------------------------

    def pin(self, segment: Segment) -> None:
        """Keep the inputs of a segment in memory until its runner holds them."""
        if segment.pinned:
            return
        segment.pinned = True
        for entry in segment.entries:
            entry.pins += 1

    def park(self, segment: Segment) -> list[Entry]:
        """Pin the inputs of a segment that waits for the disk. Return those that must be read back."""
        self.pin(segment)
        self.parked.add(segment)
        return [entry for entry in segment.entries if entry.value is None and entry.block is None]

    def unpin(self, segment: Segment) -> None:
        """Unpin the inputs of a segment that its runner holds now, or that was dropped."""
        self.parked.discard(segment)
        self._let_go(segment)

    def relax(self) -> None:
        """Unpin the inputs of all segments that wait for the disk, except those of the earliest one."""
        for segment in sorted(self.parked, key=lambda segment: (segment.chain.order, segment.id))[1:]:
            self._let_go(segment)

    @staticmethod
    def _let_go(segment: Segment) -> None:
        if segment.pinned:
            segment.pinned = False
            for entry in segment.entries:
                entry.pins -= entry.pins > 0
