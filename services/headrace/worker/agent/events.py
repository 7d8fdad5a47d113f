"""What the agent's state machine is told: everything that it decides follows from these events, in their order.

Each event has one handler, in `handlers`. An event is data, so that it can be written to a file and told again (see `recording`).
The clock is read by the service, never by the machine: time comes with `Clock` and `Tick`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from headrace.link import frames
from headrace.runner import protocol
from headrace.worker.agent.actions import Action, Setback
from headrace.worker.agent.failures import MemoryShortage
from headrace.worker.agent.relays import PeerHost
from headrace_schemas import LogMessage

Executed = tuple[int, int] | None
"""What a runner executes, by the status page: the number of a job on this host, and a task. None if it executes nothing."""


class Base(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The base of all events."""

    kind: ClassVar[str]
    """What happened, in words: for the log and the metrics of a host whose machine fails on such an event."""
    raises: ClassVar[bool] = False
    """Whether the service hears of an exception that the machine raises on such an event, to end what sent it."""


# --- time and epochs ------------------------------------------------------------------------------------------------------


class Clock(Base, frozen=True):
    """The time in seconds of a clock that never goes back. It comes before the other events of a turn of the event loop: all of them are
    taken to happen now."""

    kind = "the time was told"
    now: float


class Tick(Base, frozen=True):
    """Time passed. executing: an entry for each slot."""

    kind = "time passed"
    now: float
    executing: list[Executed]


class Rejoined(Base, frozen=True):
    """This host begins a new epoch: the cluster took it for lost. Its runners and links are gone."""

    kind = "a new epoch begins"
    raises = True
    epoch: int


class AddressKnown(Base, frozen=True):
    """Other hosts reach this one at this address. Until then, it passes nothing on."""

    kind = "an address is known"
    raises = True
    address: str


# --- the log --------------------------------------------------------------------------------------------------------------


class LogRead(Base, frozen=True):
    """Messages of the log, in their order."""

    kind = "a message of the log"
    messages: Sequence[LogMessage]


class AssignmentResumed(Base, frozen=True):
    """There is time for the next part of the assignment that is being taken in."""

    kind = "an assignment goes on"


class LogRewound(Base, frozen=True):
    """The log lost its last messages. unknown: jobs that are not in it any more."""

    kind = "the log lost messages"
    raises = True
    unknown: list[str]


# --- runners --------------------------------------------------------------------------------------------------------------


class RunnerStarted(Base, frozen=True):
    """The runner in a slot is ready for work."""

    kind = "a runner started"
    slot: int


class RunnerSent(Base, frozen=True):
    """Frames of the runner in a slot."""

    kind = "what a runner sent"
    raises = True
    slot: int
    frames: list[protocol.ToAgent]


class RunnerDied(Base, frozen=True):
    """The runner in a slot ended while it executed a task. code: its exit code, or minus a signal. shortage: if the kernel killed it for
    want of memory."""

    kind = "a runner died"
    slot: int
    task: Executed
    code: int
    pid: int
    shortage: MemoryShortage | None = None


class RunnerRecalled(Base, frozen=True):
    """The runner in a slot has seen the recall of this number. begun: the number of the segment that it began last."""

    kind = "a runner was recalled"
    slot: int
    number: int
    begun: int


class Executing(Base, frozen=True):
    """What the status page shows: an entry for each slot."""

    kind = "what is executed"
    tasks: list[Executed]


# --- hosts that datasets are fetched from ---------------------------------------------------------------------------------


class HostConnected(Base, frozen=True):
    """A link that this host opened is ready."""

    kind = "a link to a host"
    host: str
    epoch: int


class HostUnreachable(Base, frozen=True):
    """A link could not be opened, or ended."""

    kind = "no link to a host"
    host: str


class LinksDue(Base, frozen=True):
    """It is time to open links again that ended."""

    kind = "links are tried again"


class ValuesReceived(Base, frozen=True):
    """Small datasets came. payload: their bytes, one after another."""

    kind = "values came over a link"
    raises = True
    host: str
    frame: frames.Values
    payload: memoryview


class Offered(Base, frozen=True):
    """A host has large datasets that this one wants."""

    kind = "an offer came over a link"
    raises = True
    host: str
    frame: frames.Offer


class DataArriving(Base, frozen=True):
    """The first of these bytes of a dataset are here. `Fetching.place` says then where they go."""

    kind = "data begins to come over a link"
    raises = True
    host: str
    frame: frames.Data
    nbytes: int


class DataArrived(Base, frozen=True):
    """All of these bytes of a dataset are here."""

    kind = "data came over a link"
    raises = True
    host: str
    frame: frames.Data
    nbytes: int


class DataUnbacked(Base, frozen=True):
    """There is no memory behind the place that a dataset was granted. memory: bytes that the arena has."""

    kind = "there is no memory for data"
    host: str
    frame: frames.Data
    memory: int


class Relayed(Base, frozen=True):
    """A host says which other host sends a dataset."""

    kind = "a relay came over a link"
    raises = True
    host: str
    frame: frames.Relay


class DatasetsGone(Base, frozen=True):
    """A host does not have datasets that this one wants."""

    kind = "datasets are gone"
    raises = True
    host: str
    frame: frames.Gone


# --- peers that fetch datasets --------------------------------------------------------------------------------------------


class PeerCame(Base, frozen=True):
    """Another host opened a link; the peer's number stands for it from now on."""

    kind = "a peer came"
    raises = True
    peer: int
    host: PeerHost


class Wanted(Base, frozen=True):
    """A peer asks for datasets."""

    kind = "a want came over a link"
    raises = True
    peer: int
    frame: frames.Want


class Granted(Base, frozen=True):
    """A peer has room for datasets that it was offered."""

    kind = "a grant came over a link"
    raises = True
    peer: int
    frame: frames.Grant


class Unwanted(Base, frozen=True):
    """A peer does not need datasets any more."""

    kind = "a want was withdrawn"
    raises = True
    peer: int
    frame: frames.Unwant


class BytesSent(Base, frozen=True):
    """Bytes of a block (0: of the disk) are out, or their link is gone."""

    kind = "bytes were sent"
    peer: int
    frame: frames.Data
    nbytes: int
    block: int = 0


class PeerLeft(Base, frozen=True):
    """A link that a peer opened has ended."""

    kind = "a link of a peer ended"
    peer: int


# --- memory and disk ------------------------------------------------------------------------------------------------------


class Spilled(Base, frozen=True):
    """A dataset is on disk."""

    kind = "a dataset was written to disk"
    key: str


class Restored(Base, frozen=True):
    """A dataset was read from disk into the arena."""

    kind = "a dataset was read from disk"
    key: str


class MemoryWanted(Base, frozen=True):
    """The system needs memory back from the arena, so that it has this number of bytes at most. `Memory.trimmed` says then which ranges are
    to be released."""

    kind = "memory is wanted back"
    raises = True
    target: int


# --- actions --------------------------------------------------------------------------------------------------------------


class ActionFailed(Base, frozen=True):
    """An action that `Agent.take` returned could not be carried out, at once or later."""

    kind = "an action failed"
    action: Action
    setback: Setback


Event = (
    Clock
    | Tick
    | Rejoined
    | AddressKnown
    | LogRead
    | AssignmentResumed
    | LogRewound
    | RunnerStarted
    | RunnerSent
    | RunnerDied
    | RunnerRecalled
    | Executing
    | HostConnected
    | HostUnreachable
    | LinksDue
    | ValuesReceived
    | Offered
    | DataArriving
    | DataArrived
    | DataUnbacked
    | Relayed
    | DatasetsGone
    | PeerCame
    | Wanted
    | Granted
    | Unwanted
    | BytesSent
    | PeerLeft
    | Spilled
    | Restored
    | MemoryWanted
    | ActionFailed
)
