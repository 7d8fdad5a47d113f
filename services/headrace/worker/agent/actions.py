"""The actions that the agent returns: instructions for its service, which carries them out in order."""

from __future__ import annotations

import msgspec

from headrace.link import frames
from headrace.runner import protocol
from headrace_schemas import Events


class _Action(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The base of all actions."""


class ToRunner(_Action, frozen=True):
    """Send a frame to the runner in a slot."""

    slot: int
    frame: protocol.ToRunner


class KillRunner(_Action, frozen=True):
    """Kill the runner in a slot with SIGKILL. The service starts another one in its place."""

    slot: int


class Nudge(_Action, frozen=True):
    """Signal the runner in a slot to send its finished results now, although it is executing a task."""

    slot: int


class Recall(_Action, frozen=True):
    """Write the number of a recall to the status page, for the runner in a slot.

    A moment later, the service reports the segment that the runner began last, as `RunnerRecalled`.
    """

    slot: int
    number: int


class Connect(_Action, frozen=True):
    """Open a link to another host."""

    host: str
    address: str


class Disconnect(_Action, frozen=True):
    """Close the link to another host, which failed, fell silent or was lost."""

    host: str


class DropPeer(_Action, frozen=True):
    """Close a link that a peer opened, because a frame for the peer could not be sent."""

    peer: int


class ToHost(_Action, frozen=True):
    """Send a frame to a host whose link is open."""

    host: str
    frame: frames.Frame


class ToPeer(_Action, frozen=True):
    """Send a frame and its payload over a link that a peer opened."""

    peer: int
    frame: frames.Frame
    payload: bytes = b""


class SendBlock(_Action, frozen=True):
    """Send a block of the arena, or a piece of it, over a link that a peer opened. `BytesSent` follows."""

    peer: int
    frame: frames.Data
    block: int
    offset: int
    nbytes: int


class SendSpilled(_Action, frozen=True):
    """Send part of a dataset from disk over a link that a peer opened. `BytesSent` follows.

    The frame says which bytes. key: the name of the dataset on disk.
    """

    peer: int
    frame: frames.Data
    key: str
    nbytes: int


class Spill(_Action, frozen=True):
    """Write a block of the arena to disk under a key. `Spilled` follows."""

    key: str
    block: int
    offset: int
    nbytes: int


class Restore(_Action, frozen=True):
    """Read a dataset from disk into a block of the arena. `Restored` follows."""

    key: str
    block: int
    offset: int
    nbytes: int


class Unspill(_Action, frozen=True):
    """Delete the dataset that is on disk under a key."""

    key: str


class Warn(_Action, frozen=True):
    """Log a warning on this host."""

    text: str


class Report(_Action, frozen=True):
    """Publish facts about a job to the log."""

    events: Events


class Setback(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The reason why an action could not be carried out.

    memory: the bytes of memory that the arena has, if the folder of the arena is full; None for every other reason. final: whether another
    try would fail, too.
    """

    why: str
    memory: int | None = None
    final: bool = False


Action = (
    ToRunner
    | KillRunner
    | Nudge
    | Recall
    | Connect
    | Disconnect
    | DropPeer
    | ToHost
    | ToPeer
    | SendBlock
    | SendSpilled
    | Spill
    | Restore
    | Unspill
    | Warn
    | Report
)
