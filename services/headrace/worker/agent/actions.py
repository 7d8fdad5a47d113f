"""What the agent's state machine asks of its service: instructions, carried out in order."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.link import frames
from headrace.runner import protocol
from headrace_schemas import Events


@dataclass(frozen=True, slots=True)
class ToRunner:
    """Send a frame to the runner in a slot."""

    slot: int
    frame: protocol.ToRunner


@dataclass(frozen=True, slots=True)
class KillRunner:
    """End the runner in a slot by force; its replacement starts by itself."""

    slot: int


@dataclass(frozen=True, slots=True)
class Nudge:
    """Have the runner in a slot send what it has finished, in the middle of the task that it executes."""

    slot: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Write a recall of this number for the runner in a slot on the status page; a moment later, say what that runner began last."""

    slot: int
    number: int


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a link to another host."""

    host: str
    address: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the link to another host, which does not do what it is to."""

    host: str


@dataclass(frozen=True, slots=True)
class DropPeer:
    """End the link that a peer opened: what it was to be told could not be sent."""

    peer: int


@dataclass(frozen=True, slots=True)
class ToHost:
    """Send a frame to a host whose link is open."""

    host: str
    frame: frames.Frame


@dataclass(frozen=True, slots=True)
class ToPeer:
    """Send a frame, and the bytes that go with it, over a link that a peer opened."""

    peer: int
    frame: frames.Frame
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class SendBlock:
    """Send a block of the arena, or a piece of it, over a link that a peer opened, and say when it is out."""

    peer: int
    frame: frames.Data
    block: int
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class SendSpilled:
    """Send bytes of what is on disk under a key over a link that a peer opened, those that the frame names, and say when they are out."""

    peer: int
    frame: frames.Data
    key: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class Spill:
    """Write a block of the arena to disk under a key, and say when it is there."""

    key: str
    block: int
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Restore:
    """Read what is on disk under a key into a block of the arena, and say when it is there."""

    key: str
    block: int
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Unspill:
    """Forget what is on disk under a key."""

    key: str


@dataclass(frozen=True, slots=True)
class Warn:
    """Say something in the log of this host."""

    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """Publish facts."""

    events: Events


@dataclass(frozen=True, slots=True)
class Setback:
    """Why an action could not be carried out.

    memory: if the folder of the arena is full, the bytes of memory that the arena has; None for every other reason. final: whether the
    action would fail again however often it is tried.
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
