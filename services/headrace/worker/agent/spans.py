"""Spans of a host: what its runners execute, what fails, and what goes from host to host. See `headrace.telemetry.tracing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.link import frames
from headrace.runner import protocol
from headrace.telemetry.tracing import now
from headrace_schemas import Ended, Events, LogMessage

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing

CHAIN = "execute chain"
FAILED = "task failed"


class _Begun(NamedTuple):
    """A segment that was sent to a runner."""

    job: str
    time: int
    about: dict[str, Any]


class Spans:
    """Of the chains that the runners execute: one for each stretch that runs without a wait in between, mostly all of a chain.

    called: the agent's, gives the names of a job and a task by their numbers.

    It begins when the runner has it, and is done with what it was sent before; it ends when its results are here.
    """

    def __init__(self, tracing: Tracing, runners: int, called: Callable[..., dict[str, str]]) -> None:
        self._tracing = tracing
        self._called = called
        self._begun: dict[int, _Begun] = {}
        self._free = [0] * runners
        """When each runner's last results came."""

    def dispatched(self, slot: int, frame: protocol.Run) -> None:
        """A runner is sent segments."""
        job, time = self._called(frame.job).get("job", ""), now()
        if not self._tracing.has_room(job, CHAIN):
            return
        for segment, chain, length in zip(frame.segments, frame.chains, frame.lengths, strict=True):
            self._begun[segment] = _Begun(job, time, {"headrace.runner": slot, "headrace.chain": chain, "headrace.tasks": length})
        self._begun[frame.segments[0]].about["headrace.task"] = self._called(frame.job, frame.tasks[0]).get("task", "")

    def sent(self, slot: int, frames: list[protocol.ToAgent]) -> None:
        """A runner sent frames, of which results count here."""
        for frame in frames:
            if isinstance(frame, protocol.Results):
                self.ended(slot, frame)

    def ended(self, slot: int, frame: protocol.Results) -> None:
        """A runner's results are here."""
        ended = [begun for id in (*frame.segments, *frame.failed_segments) if (begun := self._begun.pop(id, None))] if self._begun else []
        for begun in ended:
            self._tracing.span(begun.job, CHAIN, max(begun.time, self._free[slot]), begun.about)
        if len(frame.segments) > len(ended):
            job = self._called(frame.job).get("job", "")
            self._tracing.omit(job, CHAIN, len(frame.segments) - len(ended), int(sum(frame.function_seconds) * 1e9))
        self._free[slot] = now()

    def failed(self, events: Events) -> None:
        """Attempts failed: also those whose runner died."""
        for error in events.failed:
            about = {"headrace.task": error.name, "headrace.attempt": error.attempt, "headrace.reason": error.reason}
            self._tracing.span(events.job, FAILED, now(), about, error=error)

    def hear(self, messages: Iterable[LogMessage]) -> None:
        """Messages of the log: of a job that is over, what did not end, will not."""
        over = {message.job for message in messages if isinstance(message, Ended)}
        if over:
            self._begun = {id: begun for id, begun in self._begun.items() if begun.job not in over}


def transferred(tracing: Tracing, name: str, peer: str, frame: frames.Data, nbytes: int, seconds: float) -> None:
    """A dataset, or a piece of one, went out to a peer or came from one, which took so long."""
    about = {"headrace.peer": peer, "headrace.dataset": frame.dataset, "headrace.bytes": nbytes}
    tracing.span(frame.job, name, now() - int(seconds * 1e9), about)
