"""Which datasets go to disk when memory is short, and how they come back.

    in memory --Spill--> being written --spilled--> on disk --Restore--> being read --restored--> in memory
                 |                                     |
                 +-- used or purged meanwhile: the copy on disk is forgotten, nothing else changes

What cannot be written stays in memory, and for a while nothing else is written: the pause doubles with each failure, up to
`Settings.longest_spill_pause_seconds`, and the first write that succeeds ends it. So a full disk, or a folder that vanished, is tried again
now and then.

Least recently used goes first. What a segment that is about to run takes is pinned until its runner holds it, so that restoring one of
its inputs never costs it another. Where the inputs of several such segments do not fit together, only the earliest keeps its.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from headrace.worker.agent.actions import Action, Restore, Spill, Unspill
from headrace.worker.agent.jobs import Entry, HostJob, Segment
from headrace.worker.settings import Settings
from headrace_shm import Block, Store

DISK = ("disk",)
"""Reads and writes of the disk, in the store's books."""


class Disk:
    """The books of what is on disk. Appends actions to the list it was given.

    spills: whether anything may be written at all. now: by the clock of `Agent.tick`. trouble: why the last write failed, until one
    succeeds.
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
        """Entries in memory that could go to disk, by their block, least recently used first."""
        self._keys: dict[str, tuple[HostJob, Entry]] = {}
        """Entries that are on disk, or on their way there or back."""
        self._writing: dict[str, Block[int]] = {}
        self._reading: dict[str, Block[int]] = {}
        self._bytes_writing = 0
        self.parked: set[Segment] = set()
        """Segments that wait for inputs from disk."""
        self.spilled_bytes = 0
        """Written so far, for people."""
        self.restored_bytes = 0
        """Read back so far."""

    @property
    def enabled(self) -> bool:
        """Whether anything may be written now."""
        return self.spills and self.now >= self._paused_until

    @property
    def busy(self) -> bool:
        """Whether memory is about to become free, or a dataset about to come back."""
        return bool(self._writing or self._reading)

    @property
    def empty(self) -> bool:
        """Whether nothing is on disk."""
        return not self._keys

    @property
    def unused(self) -> bool:
        """Whether nothing is on disk, nor could go there: no segment's inputs need looking after."""
        return not self._keys and not self.resident

    @property
    def held_bytes(self) -> int:
        """What is on disk only."""
        return sum(entry.nbytes for _, entry in self._keys.values() if entry.block is None)

    # --- what is in memory ------------------------------------------------------------------------------------------

    def add(self, job: HostJob, entry: Entry) -> None:
        """A dataset is in memory."""
        if self.spills and entry.block is not None:
            self.resident[entry.block.id] = (job, entry)

    def found(self, key: str) -> tuple[HostJob, Entry] | None:
        """The dataset that is on disk under a key; None if it is not needed any more."""
        return self._keys.get(key)

    def reads(self, entry: Entry) -> bool:
        """Whether a dataset is being read from disk."""
        return entry.spill_key in self._reading

    def is_reading(self, key: str) -> bool:
        """Whether a dataset is on its way back."""
        return key in self._reading

    def touch(self, block: Block[int]) -> None:
        """A dataset is used."""
        held = self.resident.pop(block.id, None)
        if held is not None:
            self.resident[block.id] = held

    def forget(self, entry: Entry) -> None:
        """A dataset is dropped, wherever it is."""
        if entry.block is not None:
            self.resident.pop(entry.block.id, None)
        key, entry.spill_key = entry.spill_key, ""
        if key:
            self._keys.pop(key, None)
            if key not in self._writing and key not in self._reading:
                self._actions.append(Unspill(key))

    # --- to disk ------------------------------------------------------------------------------------------------------

    def make_room(self, wanted: int) -> None:
        """Begin to write as much to disk as makes `wanted` bytes, and the headroom, free."""
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
        """A block was written, or could not be: then it stays in memory, and a pause begins. trouble: why it could not be written."""
        block = self._writing.pop(key)
        self._bytes_writing -= block.size
        self._store.release(block.id, DISK)
        self._note(ok, trouble)
        held = self._keys.get(key)
        if held is None:  # purged meanwhile
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
        """Begin or end the pause. Several writes that fail together count once."""
        if ok:
            self.trouble, self._failures, self._paused_until = "", 0, -math.inf
        elif self.enabled:
            self.trouble = trouble
            seconds = self._settings.spill_pause_seconds * 2.0**self._failures
            self._paused_until = self.now + min(seconds, self._settings.longest_spill_pause_seconds)
            self._failures += 1

    # --- and back -----------------------------------------------------------------------------------------------------

    def read(self, entry: Entry, block: Block[int]) -> None:
        """There is room for a dataset that is on disk: bring it back."""
        self._reading[entry.spill_key] = block
        self._actions.append(Restore(entry.spill_key, block.id, block.offset, block.nbytes))

    def unread(self, key: str) -> Entry | None:
        """There is no memory behind the room that a dataset was to be read into: it stays on disk. None if it was purged meanwhile."""
        self._store.abort(self._reading.pop(key).id)
        held = self._keys.get(key)
        if held is None:
            self._actions.append(Unspill(key))
        return None if held is None else held[1]

    def restored(self, key: str) -> tuple[HostJob, Entry] | None:
        """A dataset was read, or could not be. Returns whose it is; None if it was purged meanwhile."""
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
        """A segment is about to run: its inputs stay in memory until its runner holds them."""
        if segment.pinned:
            return
        segment.pinned = True
        for entry in segment.entries:
            entry.pins += 1

    def park(self, segment: Segment) -> list[Entry]:
        """A segment is about to run, but inputs of it are on disk: pin them all. Returns those to bring back."""
        self.pin(segment)
        self.parked.add(segment)
        return [entry for entry in segment.entries if entry.value is None and entry.block is None]

    def unpin(self, segment: Segment) -> None:
        """A segment is at its runner, which holds its inputs from then on; or it was dropped."""
        self.parked.discard(segment)
        self._let_go(segment)

    def relax(self) -> None:
        """Let all inputs go to disk that are kept for segments which wait for others of theirs, save those of the earliest of them."""
        for segment in sorted(self.parked, key=lambda segment: (segment.chain.order, segment.id))[1:]:
            self._let_go(segment)

    @staticmethod
    def _let_go(segment: Segment) -> None:
        if segment.pinned:
            segment.pinned = False
            for entry in segment.entries:
                entry.pins -= entry.pins > 0
