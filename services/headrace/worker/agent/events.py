"""The events of the agent's state machine. Its decisions follow from these events, in their order.

Each event has one handler, in `handlers`. An event is data, so that it can be written to a file and handled again (see `recording`). The
service reads the clock, never the machine: the time comes with `Clock` and `Tick`.
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
"""The task that a runner executes, by the status page: the job's number on this host, and the task. None if the runner executes nothing."""


class Base(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The base of all events."""

    kind: ClassVar[str]
    """What happened, in words. The log and the metrics use it if the machine fails on such an event."""
    raises: ClassVar[bool] = False
    """Whether `Agent.handle` raises `Caught` if the machine fails on such an event, so that the service ends the sender."""


# --- time and epochs ------------------------------------------------------------------------------------------------------


class Clock(Base, frozen=True):
    """The time in seconds, by a monotonic clock.

    It comes before the other events of a turn of the event loop, all of which count as happening at this time.
    """

    kind = "the clock was read"
    now: float


class Tick(Base, frozen=True):
    """The regular event by which the machine notices that time passed. executing: an entry for each slot."""

    kind = "time passed"
    now: float
    executing: list[Executed]


class Rejoined(Base, frozen=True):
    """This host begins a new epoch, because the cluster took it for lost. Its runners and links have ended."""

    kind = "a new epoch begins"
    raises = True
    epoch: int


class AddressKnown(Base, frozen=True):
    """The address at which other hosts reach this one. Before this event, the host is no relay."""

    kind = "an address is known"
    raises = True
    address: str


# --- the log --------------------------------------------------------------------------------------------------------------


class LogRead(Base, frozen=True):
    """Messages of the log, in their order."""

    kind = "a message of the log"
    messages: Sequence[LogMessage]


class AssignmentResumed(Base, frozen=True):
    """The service has time for the next part of the assignment that is being taken in."""

    kind = "an assignment was resumed"


class LogRewound(Base, frozen=True):
    """The log lost its last messages. unknown: jobs that it no longer contains."""

    kind = "the log lost messages"
    raises = True
    unknown: list[str]


# --- runners --------------------------------------------------------------------------------------------------------------


class RunnerStarted(Base, frozen=True):
    """The runner in a slot is ready for work."""

    kind = "a runner started"
    slot: int


class RunnerSent(Base, frozen=True):
    """Frames that the runner in a slot sent."""

    kind = "frames of a runner"
    raises = True
    slot: int
    frames: list[protocol.ToAgent]


class RunnerDied(Base, frozen=True):
    """The runner in a slot ended. task: the one that it executed.

    code: its exit code, or the negative signal number. shortage: set if the kernel killed the runner because memory ran out.
    """

    kind = "a runner died"
    slot: int
    task: Executed
    code: int
    pid: int
    shortage: MemoryShortage | None = None


class RunnerRecalled(Base, frozen=True):
    """A recall was written to the status page a moment ago. begun: the number of the segment that the runner began last."""

    kind = "a runner was recalled"
    slot: int
    number: int
    begun: int


class Executing(Base, frozen=True):
    """The tasks that the status page shows: an entry for each slot."""

    kind = "tasks on the status page"
    tasks: list[Executed]


# --- hosts that datasets are fetched from ---------------------------------------------------------------------------------


class HostConnected(Base, frozen=True):
    """A link that this host opened is ready."""

    kind = "a link to a host opened"
    host: str
    epoch: int


class HostUnreachable(Base, frozen=True):
    """A link could not be opened, or has ended."""

    kind = "no link to a host"
    host: str


class LinksDue(Base, frozen=True):
    """It is time to open lost links again."""

    kind = "links are due again"


class ValuesReceived(Base, frozen=True):
    """Small datasets arrived. payload: their bytes, one after another."""

    kind = "values came over a link"
    raises = True
    host: str
    frame: frames.Values
    payload: memoryview


class Offered(Base, frozen=True):
    """A host offers large datasets that this one asked for."""

    kind = "an offer came over a link"
    raises = True
    host: str
    frame: frames.Offer


class DataArriving(Base, frozen=True):
    """A frame with bytes of a dataset began to arrive. Afterwards, `Fetching.place` says where to write the bytes."""

    kind = "data begins to come over a link"
    raises = True
    host: str
    frame: frames.Data
    nbytes: int


class DataArrived(Base, frozen=True):
    """All bytes of a frame have arrived."""

    kind = "data came over a link"
    raises = True
    host: str
    frame: frames.Data
    nbytes: int


class DataUnbacked(Base, frozen=True):
    """The arena has no memory for a dataset whose block was granted. memory: the bytes of memory that the arena has."""

    kind = "there is no memory for data"
    host: str
    frame: frames.Data
    memory: int


class Relayed(Base, frozen=True):
    """A host names the relay that sends a dataset in its place."""

    kind = "a relay came over a link"
    raises = True
    host: str
    frame: frames.Relay


class DatasetsGone(Base, frozen=True):
    """A host does not have datasets that this one asked for."""

    kind = "datasets are gone"
    raises = True
    host: str
    frame: frames.Gone


# --- peers that fetch datasets --------------------------------------------------------------------------------------------


class PeerCame(Base, frozen=True):
    """Another host opened a link. From now on, the peer's number identifies it."""

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
    """A peer granted memory for datasets that this host offered."""

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
    """Bytes of a block were sent, or their link ended. block: 0 for bytes from disk."""

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
    """A dataset was written to disk."""

    kind = "a dataset was written to disk"
    key: str


class Restored(Base, frozen=True):
    """A dataset was read from disk into the arena."""

    kind = "a dataset was read from disk"
    key: str


class MemoryWanted(Base, frozen=True):
    """The system needs memory back from the arena, which may keep `target` bytes. Afterwards, `Memory.trimmed` says what to release."""

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
