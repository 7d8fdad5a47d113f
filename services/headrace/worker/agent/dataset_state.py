"""The states of a dataset at a host, and the transitions between them.

A dataset does not store its state: `state_of` derives it from the fields that say where the bytes are. The tests check the table against
simulated clusters, and docs/architecture.md draws it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.spilling import Spilling


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
    State.DROPPED: "dropped (the host answers Gone to requests)",
}
"""For each state, its meaning in words."""


class Transition(NamedTuple):
    """A transition from one state to another. why: the events that cause it."""

    before: State
    after: State
    why: str


TRANSITIONS = (
    Transition(State.ABSENT, State.AWAITED, "a task here takes it, or another host asks for it"),
    Transition(State.ABSENT, State.SMALL, "a runner made it"),
    Transition(State.ABSENT, State.GRANTED, "a runner asks for memory"),
    Transition(State.ABSENT, State.MEMORY, "a runner hands over a slab"),
    Transition(State.AWAITED, State.SMALL, "made here, or Values"),
    Transition(State.AWAITED, State.GRANTED, "a runner asks for memory, or an Offer is granted"),
    Transition(State.AWAITED, State.MEMORY, "a runner hands over a slab"),
    Transition(State.GRANTED, State.AWAITED, "link lost, runner died, new source, or shared memory full"),
    Transition(State.GRANTED, State.SMALL, "another attempt made a small value"),
    Transition(State.GRANTED, State.MEMORY, "written or received completely"),
    Transition(State.MEMORY, State.WRITING, "memory is short"),
    Transition(State.WRITING, State.DISK, "written"),
    Transition(State.WRITING, State.MEMORY, "used during the write, or the write failed"),
    Transition(State.DISK, State.READING, "a segment needs it, and memory was granted"),
    Transition(State.READING, State.MEMORY, "read"),
    Transition(State.READING, State.DISK, "shared memory full"),
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
    Transition(State.SMALL, State.ABSENT, "the last segment used a copy from another host"),
)
"""All transitions while a job runs. The job's end drops a dataset in any state."""


def state_of(job: HostJob, dataset: int, disk: Spilling) -> State:
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
