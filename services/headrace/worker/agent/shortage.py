"""How much memory the store really has, and what to say to a task for which there is not enough.

The store counts bytes up to its capacity; the folder of the arena (/dev/shm) may have room for fewer. That shows when memory is reserved
for a result and the folder is full. From then on the store's capacity is what the arena has, so that datasets go to disk as they would in
a smaller store. After a while the full capacity is tried again, for others may have filled the folder.
"""

from __future__ import annotations

from headrace.worker.agent.disk import Disk
from headrace_shm import Store
from headrace_shm.allocator import PAGE


class Shortage:
    """The store's capacity over time. full_capacity: as it was set, in bytes. pause_seconds: until it is tried again.

    short: bytes of memory that the arena had when its folder was last found full; None unless the capacity is lowered now. times: how
    often the folder was found full.
    """

    def __init__(self, store: Store[int], disk: Disk, pause_seconds: float) -> None:
        self.full_capacity = store.capacity
        self.short: int | None = None
        self.times = 0
        self._store = store
        self._disk = disk
        self._pause_seconds = pause_seconds
        self._until = 0.0

    def found(self, memory: int, now: float) -> None:
        """The folder of the arena is full: the arena has so many bytes of memory."""
        self.times += 1
        self.short = max(PAGE, min(memory, self._store.capacity) // PAGE * PAGE)
        self._store.capacity = self.short
        self._until = now + self._pause_seconds

    def tick(self, now: float) -> None:
        """Try the full capacity again once the pause is over."""
        if self.short is not None and now >= self._until:
            self.short = None
            self._store.capacity = self.full_capacity

    def may_fit(self, nbytes: int) -> bool:
        """Whether something that is too large for the present capacity would fit into the full one."""
        return self._store.capacity < nbytes <= self.full_capacity

    def in_words(self, what: str, nbytes: int) -> str:
        """The reason why something never fits into the store, and what to do."""
        store, capacity = self._store, self.full_capacity
        if nbytes > capacity:
            return (
                f"{what} is larger than the store of {capacity:,} bytes. Raise HEADRACE_CAPACITY (or capacity=), or make the value smaller"
            )
        if self.short is not None:
            return self._of_the_folder(what)
        full = f"{what} does not fit into the store, even above its capacity of {capacity:,} bytes: {store.used:,} bytes are in use"
        if self._disk.enabled:
            return f"{full}. Raise HEADRACE_CAPACITY (or capacity=), use fewer runners, or have each task take less at once"
        return (
            f"{full} or wait for tasks that need them, and nothing is moved to disk: {self._why_not()}. Set HEADRACE_SPILL_DIR to a folder "
            "on a disk with room, or raise HEADRACE_CAPACITY (or capacity=)"
        )

    def _of_the_folder(self, what: str) -> str:
        text = (
            f"{what} has no room: the folder of shared memory is full with {self.short:,} bytes of this host in it, less than the "
            f"store's capacity of {self.full_capacity:,} bytes. Enlarge the folder (for a container: its shm size), "
            "or remove what others have in it"
        )
        if self._disk.enabled:
            return f"{text}, or have each task take less at once"
        return f"{text}. Nothing is moved to disk: {self._why_not()}. Set HEADRACE_SPILL_DIR to a folder on a disk with room"

    def _why_not(self) -> str:
        return self._disk.trouble or ("HEADRACE_SPILL_DIR is none" if not self._disk.spills else "its disk is full or broken")
