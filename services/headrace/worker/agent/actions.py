"""What the agent's state machine asks of its service: instructions, carried out in order."""

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
    """End the runner in a slot by force; its replacement starts by itself."""

    slot: int


class Nudge(_Action, frozen=True):
    """Have the runner in a slot send what it has finished, in the middle of the task that it executes."""

    slot: int


class Recall(_Action, frozen=True):
    """Write a recall of this number for the runner in a slot on the status page; a moment later, say what that runner began last."""

    slot: int
    number: int


class Connect(_Action, frozen=True):
    """Open a link to another host."""

    host: str
    address: str


class Disconnect(_Action, frozen=True):
    """End the link to another host, which does not do what it is to."""

    host: str


class DropPeer(_Action, frozen=True):
    """End the link that a peer opened: what it was to be told could not be sent."""

    peer: int


class ToHost(_Action, frozen=True):
    """Send a frame to a host whose link is open."""

    host: str
    frame: frames.Frame


class ToPeer(_Action, frozen=True):
    """Send a frame, and the bytes that go with it, over a link that a peer opened."""

    peer: int
    frame: frames.Frame
    payload: bytes = b""


class SendBlock(_Action, frozen=True):
    """Send a block of the arena, or a piece of it, over a link that a peer opened, and say when it is out."""

    peer: int
    frame: frames.Data
    block: int
    offset: int
    nbytes: int


class SendSpilled(_Action, frozen=True):
    """Send bytes of what is on disk under a key over a link that a peer opened, those that the frame names, and say when they are out."""

    peer: int
    frame: frames.Data
    key: str
    nbytes: int


class Spill(_Action, frozen=True):
    """Write a block of the arena to disk under a key, and say when it is there."""

    key: str
    block: int
    offset: int
    nbytes: int


class Restore(_Action, frozen=True):
    """Read what is on disk under a key into a block of the arena, and say when it is there."""

    key: str
    block: int
    offset: int
    nbytes: int


class Unspill(_Action, frozen=True):
    """Forget what is on disk under a key."""

    key: str


class Warn(_Action, frozen=True):
    """Say something in the log of this host."""

    text: str


class Report(_Action, frozen=True):
    """Publish facts."""

    events: Events


class Setback(msgspec.Struct, frozen=True, gc=False, array_like=True):
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
