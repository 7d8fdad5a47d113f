"""The states of a dataset at a host, and the ways between them.

A dataset keeps no state of its own: `state_of` reads it from the fields that say where its bytes are. The table is what the simulated
clusters hold the machines to, and what the diagram in docs/architecture.md shows.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from headrace.worker.agent.disk import Disk
from headrace.worker.agent.jobs import HostJob


class State(Enum):
    """Where a dataset is, as far as its host knows."""

    ABSENT = "[*]"
    AWAITED = "awaited"
    GRANTED = "granted"
    SMALL = "small"
    MEMORY = "memory"
    WRITING = "writing"
    DISK = "disk"
    READING = "reading"
    DROPPED = "dropped"


ABOUT = {
    State.AWAITED: "awaited (no value, no memory)",
    State.GRANTED: "memory granted (a runner or a link writes)",
    State.SMALL: "here as a value of up to 8 KiB",
    State.MEMORY: "in memory (a sealed block)",
    State.WRITING: "in memory, being written to disk",
    State.DISK: "on disk",
    State.READING: "on disk, being read back",
    State.DROPPED: "dropped (asked for it, the host says gone)",
}
"""Per state: what it means, for people."""


class Transition(NamedTuple):
    """A way from one state to another. why: the events that lead there."""

    before: State
    after: State
    why: str


TRANSITIONS = (
    Transition(State.ABSENT, State.AWAITED, "a task here takes it, or another host asks"),
    Transition(State.ABSENT, State.SMALL, "a runner made it"),
    Transition(State.ABSENT, State.GRANTED, "a runner asks for memory"),
    Transition(State.ABSENT, State.MEMORY, "a runner hands over a slab"),
    Transition(State.AWAITED, State.SMALL, "made here, or Values"),
    Transition(State.AWAITED, State.GRANTED, "a runner asks, or an Offer is granted"),
    Transition(State.AWAITED, State.MEMORY, "a runner hands over a slab"),
    Transition(State.GRANTED, State.AWAITED, "link lost, runner died, another source, no memory behind it"),
    Transition(State.GRANTED, State.SMALL, "another attempt made a small value"),
    Transition(State.GRANTED, State.MEMORY, "written or received whole"),
    Transition(State.MEMORY, State.WRITING, "memory is short"),
    Transition(State.WRITING, State.DISK, "written"),
    Transition(State.WRITING, State.MEMORY, "used meanwhile, or the write failed"),
    Transition(State.DISK, State.READING, "a segment needs it, and has memory"),
    Transition(State.READING, State.MEMORY, "read"),
    Transition(State.READING, State.DISK, "no memory behind the grant"),
    Transition(State.READING, State.AWAITED, "unreadable, reported as gone"),
    Transition(State.DISK, State.AWAITED, "unreadable, reported as gone"),
    Transition(State.AWAITED, State.DROPPED, "purged"),
    Transition(State.GRANTED, State.DROPPED, "purged"),
    Transition(State.SMALL, State.DROPPED, "purged"),
    Transition(State.MEMORY, State.DROPPED, "purged"),
    Transition(State.WRITING, State.DROPPED, "purged"),
    Transition(State.DISK, State.DROPPED, "purged"),
    Transition(State.READING, State.DROPPED, "purged, or unreadable after the end of the job"),
    Transition(State.DROPPED, State.AWAITED, "needed here again"),
    Transition(State.DROPPED, State.SMALL, "made here again"),
    Transition(State.DROPPED, State.GRANTED, "made here again"),
    Transition(State.DROPPED, State.MEMORY, "made here again"),
    Transition(State.SMALL, State.ABSENT, "copy of another host's, used for the last time"),
)
"""What may happen while a job runs. Its end drops a dataset in every state."""


def state_of(job: HostJob, dataset: int, disk: Disk) -> State:
    """Return the state of one dataset of a job."""
    entry = job.entries.get(dataset)
    if entry is None:
        return State.DROPPED if dataset in job.dropped else State.ABSENT
    if entry.value is not None:
        return State.SMALL
    if entry.block is not None:
        return State.WRITING if entry.spill_key else State.MEMORY
    if entry.spill_key:
        return State.READING if disk.is_reading(entry.spill_key) else State.DISK
    return State.GRANTED if entry.granted is not None else State.AWAITED


def diagram() -> str:
    """Draw the table as the body of a Mermaid state diagram."""
    lines = ["stateDiagram-v2", *(f"    {state.value}: {text}" for state, text in ABOUT.items())]
    return "\n".join([*lines, *(f"    {each.before.value} --> {each.after.value}: {each.why}" for each in TRANSITIONS)])
