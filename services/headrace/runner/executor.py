"""Executes the tasks of segments, one after another, and sends what leaves their chains."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from headrace.graph.output import Output
from headrace.runner.calling import Caller
from headrace.runner.channel import Channel
from headrace.runner.delivery import Delivery
from headrace.runner.failure_reports import FailureReports
from headrace.runner.failures import TaskFailure, failure_of
from headrace.runner.generators import Generators
from headrace.runner.inputs import Inputs
from headrace.runner.job import RunnerJob
from headrace.runner.outputs import checked_metadata, iterate, miscounted, pickling_failure
from headrace.runner.segments import Segment
from headrace.runner.slabs import Slabs
from headrace.runner.state import Granted, RunnerState
from headrace.runner.status import StatusPage
from headrace.runner.storage import Storage
from headrace.runner.waiting import Suspended
from headrace.values import PLAIN_TYPES, encode_plain
from headrace_schemas.streams import INLINE_VALUE_BYTES
from headrace_shm import Arena

PROGRESS_SECONDS = 0.05
"""In a long chain, the tasks that have ended are reported at this interval."""
_NOTHING = object()
"""Returned in place of a value when an iterator has ended."""


class Executor:
    """Executes what the state says is next. Every method raises AgentGone once the agent is gone, and reports every other failure."""

    def __init__(self, state: RunnerState, channel: Channel, slabs: Slabs, arena: Arena, status: StatusPage, slot: int) -> None:
        self._outbox = state.outbox
        self._channel = channel
        self._slabs = slabs
        self._status = status
        self._slot = slot
        self._delivery = Delivery(state.outbox)
        self._failures = FailureReports(state.outbox, channel, self._delivery, slabs)
        self._inputs = Inputs(arena, state.outbox.let_go)
        self._caller = Caller(channel)
        self.storage = Storage(state, channel, self._delivery, slabs, self._failures, arena)
        self._generators = Generators(state.outbox, channel, self._delivery, self.storage, status, slot)

    def execute(self, segment: Segment) -> None:
        """Execute a segment and report what came of it. Results that wait for room must have been copied, see `Storage.own`."""
        try:
            self._run(segment)
            segment.ended = True
            self._end(segment)
            return
        except BaseException as error:
            failure = failure_of(error)
        self._fail(segment, failure)

    def store(self, granted: Granted) -> None:
        """Store a result that waited, and go on with the generator that yielded it."""
        segment = granted.result.segment
        segment.place = granted.result.place
        try:
            self._store(granted)
            self._end(segment)
            return
        except BaseException as error:
            failure = failure_of(error)
        self._fail(segment, failure)

    # --- segments -----------------------------------------------------------------------------------------------------

    def _run(self, segment: Segment) -> None:
        job, outside = segment.job, self._decode_inputs(segment) if segment.inputs else {}
        last = len(segment.tasks) - 1
        for place, task in enumerate(segment.tasks):
            segment.place, function = place, job.function(task)
            if self._outbox.waiting:
                self._channel.flush_before(function.expected)
            self._status.set(self._slot, job.number, task)
            began = perf_counter()
            result = self._caller.call(segment, task, function, outside)
            now = self._outbox.now = perf_counter()
            if function.generator:
                self._generators.run(Suspended(segment, iter(result)))
                return
            job.took(function, now - began)
            if not (type(result) in PLAIN_TYPES and job.sends_plainly and self._pass_plain(job, segment.leaves[place], task, result)):
                self._keep_or_put(segment, result)
                result = None
                self._settle(segment)
            if place < last and self._outbox.now - self._outbox.since > PROGRESS_SECONDS:
                self._outbox.task_done(job, task)

    def _decode_inputs(self, segment: Segment) -> dict[int, Any]:
        """Decode a segment's inputs, with its first task on the status page: unpickling them may end the process."""
        self._status.set(self._slot, segment.job.number, segment.tasks[0])
        return self._inputs.decode(segment)

    def _store(self, granted: Granted) -> None:
        result, grant = granted
        generator = result.generator
        is_last = generator is not None and generator.has_yielded_all
        if is_last:
            self._delivery.withhold()
        self.storage.write(grant, result)
        result.segment.puts -= 1
        if generator is not None and is_last:
            self._generators.finish(generator)
        elif generator is not None:
            self._generators.run(generator)

    def _end(self, segment: Segment) -> None:
        """Report the segment if its tasks ended and none of its results waits for room."""
        if segment.ended and segment.puts == 0 and not segment.job.closed:
            self._outbox.segment_done(segment.job, segment.id)

    def _fail(self, segment: Segment, failure: TaskFailure | None) -> None:
        """Report a failure; None if the job was closed."""
        if failure is None:
            self._failures.abandon()
        else:
            self._failures.report(segment, failure)

    # --- results of tasks ---------------------------------------------------------------------------------------------

    def _pass_plain(self, job: RunnerJob, leaves: int, dataset: int, value: Any) -> bool:
        """Keep a number for its chain, or send it if it leaves the chain. Returns False if it is too long to be sent in a frame."""
        if leaves != 1:
            if leaves == 0:
                job.keep_plain(dataset, value)
            return True
        data = encode_plain(value)
        if len(data) > INLINE_VALUE_BYTES:
            return False
        self._outbox.dataset(job, dataset, data, None)
        return True

    def _keep_or_put(self, segment: Segment, result: Any) -> None:
        job, leaves = segment.job, segment.leaves[segment.place]
        outputs = job.outputs(segment.task)
        if leaves == 0:
            self._keep(job, outputs[0], result)
        elif leaves == 1 and len(outputs) == 1:
            self.storage.put(segment, outputs[0], result)
        elif leaves == 1:
            self._put_each(segment, outputs, result)

    def _keep(self, job: RunnerJob, dataset: int, value: Any) -> None:
        """Keep a value for later tasks of its chain."""
        try:
            if isinstance(value, Output):
                checked_metadata(job, dataset, value)
                value = value.value
            job.keep(dataset, value)
        except BaseException as error:
            raise pickling_failure(error) from None

    def _put_each(self, segment: Segment, outputs: range, result: Any) -> None:
        """Send the values of a task with several outputs. An iterator computes them only now, and its end shows how many they are."""
        iterator, computed = iterate(result, len(outputs)), not isinstance(result, list | tuple)
        self._delivery.withhold()
        for index, dataset in enumerate(outputs):
            try:
                self.storage.put(segment, dataset, next(iterator))
            except StopIteration:
                raise miscounted(len(outputs), f"returned {index} values") from None
            if computed:
                self.storage.hand_over(segment)
                self.storage.own()
        if next(iterator, _NOTHING) is not _NOTHING:
            raise miscounted(len(outputs), f"returned more than {len(outputs)} values")
        self._delivery.release()

    def _settle(self, segment: Segment) -> None:
        """Make what a task returned safe from what the task still refers to. The caller refers to it no longer."""
        if segment.job.unsettled is not None:
            segment.job.settle()
        if self._slabs.results:
            self.storage.hand_over(segment)
        if self.storage.borrowed:
            self.storage.own()
