"""The memory that the store really has, and the errors of tasks for which it is not enough.

The store counts bytes up to its capacity, but the folder of the arena (/dev/shm) may have room for fewer. The agent notices that when it
reserves memory for a result and the folder is full. From then on the store's capacity is what the arena has, so that datasets go to disk as
in a smaller store. After a while the agent tries the full capacity again, because other programs may have freed space in the folder.
"""

from __future__ import annotations

from headrace.worker.agent.spilling import Spilling
from headrace_shm import Store
from headrace_shm.allocator import PAGE


class Shortage:
    """The store's capacity over time. full_capacity: the configured capacity, in bytes. pause_seconds: the time until it is tried again.

    short: the bytes of memory that the arena had when its folder was last found full; None unless the capacity is lowered now. times: the
    number of times that the folder was found full.
    """

    def __init__(self, store: Store[int], disk: Spilling, pause_seconds: float) -> None:
        self.full_capacity = store.capacity
        self.short: int | None = None
        self.times = 0
        self._store = store
        self._disk = disk
        self._pause_seconds = pause_seconds
        self._until = 0.0

    def found(self, memory: int, now: float) -> None:
        """Lower the capacity, because the folder of the arena is full. memory: the bytes that the arena has."""
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
        """Return whether a dataset that is too large for the present capacity would fit into the full one."""
        return self._store.capacity < nbytes <= self.full_capacity

    def in_words(self, what: str, nbytes: int) -> str:
        """Return why a dataset never fits into the store, and what to do. what: names the dataset."""
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
            f"{full}, and nothing is moved to disk: {self._why_not()}. Set HEADRACE_SPILL_DIR to a folder on a disk with room, "
            "or raise HEADRACE_CAPACITY (or capacity=)"
        )

    def _of_the_folder(self, what: str) -> str:
        text = (
            f"{what} has no room: the folder of shared memory is full with {self.short:,} bytes of this host in it, less than the "
            f"store's capacity of {self.full_capacity:,} bytes. Enlarge the folder (for a container: its shm size), "
            "or delete other programs' files in it"
        )
        if self._disk.enabled:
            return f"{text}, or have each task take less at once"
        return f"{text}. Nothing is moved to disk: {self._why_not()}. Set HEADRACE_SPILL_DIR to a folder on a disk with room"

    def _why_not(self) -> str:
        return self._disk.trouble or ("HEADRACE_SPILL_DIR is 'none'" if not self._disk.spills else "its disk is full or broken")
