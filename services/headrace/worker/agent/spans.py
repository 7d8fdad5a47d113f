"""The trace spans of a host: executed chains, failed tasks and transfers between hosts. See `headrace.telemetry.tracing`."""

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
    """Makes spans of the segments that the runners execute, and of failed tasks. Most chains are one segment.

    A span begins when the runner has the segment and has finished earlier ones. It ends when the results arrive.

    called: `KnownJobs.called`, which returns the names of a job and a task.
    """

    def __init__(self, tracing: Tracing, runners: int, called: Callable[..., dict[str, str]]) -> None:
        self._tracing = tracing
        self._called = called
        self._begun: dict[int, _Begun] = {}
        self._free = [0] * runners
        """The time at which each runner's last results arrived."""

    def dispatched(self, slot: int, frame: protocol.Run) -> None:
        """Note that segments are sent to a runner."""
        job, time = self._called(frame.job).get("job", ""), now()
        if not self._tracing.has_room(job, CHAIN):
            return
        for segment, chain, length in zip(frame.segments, frame.chains, frame.lengths, strict=True):
            self._begun[segment] = _Begun(job, time, {"headrace.runner": slot, "headrace.chain": chain, "headrace.tasks": length})
        self._begun[frame.segments[0]].about["headrace.task"] = self._called(frame.job, frame.tasks[0]).get("task", "")

    def sent(self, slot: int, frames: list[protocol.ToAgent]) -> None:
        """Take in the results among a runner's frames."""
        for frame in frames:
            if isinstance(frame, protocol.Results):
                self.ended(slot, frame)

    def ended(self, slot: int, frame: protocol.Results) -> None:
        """End the spans of the segments in a runner's results."""
        ended = [begun for id in (*frame.segments, *frame.failed_segments) if (begun := self._begun.pop(id, None))] if self._begun else []
        for begun in ended:
            self._tracing.span(begun.job, CHAIN, max(begun.time, self._free[slot]), begun.about)
        if len(frame.segments) > len(ended):
            job = self._called(frame.job).get("job", "")
            self._tracing.omit(job, CHAIN, len(frame.segments) - len(ended), int(sum(frame.function_seconds) * 1e9))
        self._free[slot] = now()

    def failed(self, events: Events) -> None:
        """Make a span of each failed attempt, including those whose runner died."""
        for error in events.failed:
            about = {"headrace.task": error.name, "headrace.attempt": error.attempt, "headrace.reason": error.reason}
            self._tracing.span(events.job, FAILED, now(), about, error=error)

    def hear(self, messages: Iterable[LogMessage]) -> None:
        """Forget the segments of jobs that are over, according to these messages of the log."""
        over = {message.job for message in messages if isinstance(message, Ended)}
        if over:
            self._begun = {id: begun for id, begun in self._begun.items() if begun.job not in over}


def transferred(tracing: Tracing, name: str, peer: str, frame: frames.Data, nbytes: int, seconds: float) -> None:
    """Make a span of a dataset, or a piece of one, that was sent to a peer or received from one.

    peer: the peer's name. seconds: the duration of the transfer.
    """
    about = {"headrace.peer": peer, "headrace.dataset": frame.dataset, "headrace.bytes": nbytes}
    tracing.span(frame.job, name, now() - int(seconds * 1e9), about)
