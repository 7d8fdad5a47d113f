"""Sends the values that leave their chains: in a frame if they are small, in a slab or in a block of the store if they are large.

What a task returned or yielded may lie in memory that the task fills again when it is called the next time. So a value is stored, or
copied, before the runner calls anything else: another task, or the rest of a generator.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from headrace.graph.output import Output
from headrace.runner.channel import Channel
from headrace.runner.delivery import Delivery
from headrace.runner.failure_reports import FailureReports
from headrace.runner.failures import AgentGone, StoreTooSmall, TaskFailure
from headrace.runner.outputs import checked_metadata, encode_result
from headrace.runner.protocol import NEVER, NO_ROOM_YET, Grant
from headrace.runner.segments import Segment
from headrace.runner.slabs import Slabs
from headrace.runner.state import RunnerState
from headrace.runner.waiting import Suspended, WaitingResult
from headrace.values import array_type
from headrace_schemas import SinkSpec
from headrace_schemas.streams import INLINE_VALUE_BYTES
from headrace_shm import Arena


class Storage:
    """Stores the results of the segment that is executed. A failure of a method is one of the task at the segment's place."""

    def __init__(
        self, state: RunnerState, channel: Channel, delivery: Delivery, slabs: Slabs, failures: FailureReports, arena: Arena
    ) -> None:
        self._state = state
        self._outbox = state.outbox
        self._channel = channel
        self._delivery = delivery
        self._slabs = slabs
        self._failures = failures
        self._arena = arena
        self.borrowed: list[WaitingResult] = []
        """Results that wait for room and may lie in memory that their tasks write to."""

    def put(self, segment: Segment, dataset: int, value: Any, generator: Suspended | None = None) -> bool:
        """Send a value that leaves its chain. Returns False if it waits for room. Raises TaskFailure, JobClosed."""
        job = segment.job
        metadata = None
        if isinstance(value, Output):
            value, metadata = value.value, checked_metadata(job, dataset, value)
        sink = job.sink_of(dataset)
        if sink is not None:
            self._write_to_sink(segment, sink, dataset, value, metadata)
            if not job.is_taken(dataset):
                return True
            metadata = None
        encoded = encode_result(value)
        array = array_type(value) if job.is_asked_for(dataset) else None
        if encoded.nbytes <= INLINE_VALUE_BYTES:
            self._delivery.dataset(job, dataset, encoded.tobytes(), metadata, array)
            return True
        if self._slabs.encode_in_place(encoded, dataset, metadata, array):
            return True
        return self._store(WaitingResult(segment, segment.place, dataset, encoded, metadata, array, generator))

    def hand_over(self, segment: Segment, generator: Suspended | None = None) -> bool:
        """Send the results that were made in slabs. Their values must not be referred to here any more.

        Returns False if the task still refers to one, so that it must be copied, and waits for room. Raises TaskFailure, JobClosed.
        """
        stored = True
        while self._slabs.results:
            made = self._slabs.results.pop(0)
            encoded = self._slabs.take(made)
            if encoded is None:
                self._delivery.dataset(segment.job, made.dataset, made.slab, made.metadata, made.array)
            else:
                result = WaitingResult(segment, segment.place, made.dataset, encoded, made.metadata, made.array, generator)
                stored &= self._store(result)
        return stored

    def write(self, grant: Grant, result: WaitingResult) -> None:
        """Write a result to the block that the agent granted for it. Raises TaskFailure if the agent refused."""
        if grant.offset == NEVER:
            raise TaskFailure(StoreTooSmall(grant.why), "too_large")
        result.encoded.write_into(self._arena.writable(grant.offset, result.encoded.nbytes))
        self._outbox.now = perf_counter()
        self._delivery.dataset(result.segment.job, result.dataset, grant.block, result.metadata, result.array)

    def own(self) -> None:
        """Copy the values that wait for room and may lie in memory that tasks write to. To be called before any task's code is called."""
        while self.borrowed:
            result = self.borrowed.pop()
            try:
                result.encoded.make_own()
            except MemoryError as error:
                doing = f"while {result.encoded.nbytes} bytes were copied that wait for room in the store of this host"
                self._fail(result, TaskFailure(error, "too_large", doing))

    def _fail(self, result: WaitingResult, failure: TaskFailure) -> None:
        self._state.forget(result)
        result.segment.place = result.place
        self._failures.report(result.segment, failure)

    def _store(self, result: WaitingResult) -> bool:
        grant = self._channel.ask_room(result)
        if grant.offset == NO_ROOM_YET:
            self._state.keep_waiting(result)
            self.borrowed.append(result)
            return False
        self.write(grant, result)
        return True

    def _write_to_sink(self, segment: Segment, sink: SinkSpec, dataset: int, value: Any, metadata: dict[str, Any] | None) -> None:
        """Write an output to its sink. This takes a while, so what was finished before is sent first."""
        job = segment.job
        assert job.sinks is not None
        self._channel.flush()
        try:
            written = job.sinks.write(sink, job, dataset, segment.task, segment.attempt, value, metadata)
        except AgentGone:
            raise
        except BaseException as error:
            raise TaskFailure(error, "sink_failed") from None
        self._outbox.now = perf_counter()
        self._delivery.written(job, written, metadata)
