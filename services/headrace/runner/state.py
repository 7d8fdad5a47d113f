"""What a runner knows: the frames of its agent go in; what to execute and what to send come out. No I/O, and no code of tasks.

A runner has one thread, and a task blocks it. Between two segments, and while a task waits for a grant, the runner feeds the frames that
have arrived. Between two segments, and only there, it asks what is next. These rules hold:

- Feeding a frame runs no code of tasks, not even a finalizer. What a closed job leaves is dropped by `end_closed`, between two segments.
- Segments are executed in the order in which they arrive, each at most once. A segment is dropped if the agent recalls it, if its chain
  failed, or if its job was closed.
- A result that waited for room goes before all segments, since a generator and other hosts wait for it.
- `Closed` is sent when no segment of the job is executed, so that nothing about the job follows it.
- The runner waits for one answer at a time. The latest answer to a question counts: room may have been found meanwhile.
- The agent is told once of each block that it sent as an input. Whoever decodes an input does that; if its segment is dropped, the state
  does. The same holds for a slab whose task did not wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from headrace.runner.job import RunnerJob
from headrace.runner.outbox import Outbox
from headrace.runner.protocol import NEVER, NO_ROOM_YET, Closed, CloseJob, Grant, GrantSlab, OpenJob, Recall, Run, ToRunner
from headrace.runner.segments import Segment, blocks_in, segments_of
from headrace.runner.waiting import WaitingResult


class Granted(NamedTuple):
    """A result that waited, and the agent's answer: there is room, or there never will be."""

    result: WaitingResult
    grant: Grant


class RunnerState:
    """What a runner was told, and what it has to say."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.jobs: dict[int, RunnerJob] = {}
        self.queue: deque[Segment] = deque()
        self.closing: list[CloseJob] = []
        """The jobs that were closed since `end_closed` was called."""
        self.recalled = 0
        """Number of the latest recall that the agent has answered."""
        self._closed_jobs: list[RunnerJob] = []
        self._dropped: list[WaitingResult] = []
        """Results of closed jobs. They may hold suspended generators, which run code of tasks when they end."""
        self._waiting: dict[tuple[int, int], WaitingResult] = {}
        self._granted: deque[Granted] = deque()
        self._asked: tuple[int, int] | None = None
        self._answer: Grant | None = None
        self._slabs_asked = 0
        """Number of slabs that the agent has yet to grant or refuse."""
        self._slab: GrantSlab | None = None

    def feed(self, frames: Iterable[ToRunner]) -> None:
        """Take in frames of the agent."""
        for frame in frames:
            _FEED[type(frame)](self, frame)

    # --- what is next -------------------------------------------------------------------------------------------------

    def next(self) -> Granted | Segment | None:
        """Return what to do next: store a result, or execute a segment. None if there is nothing to do until the next frame."""
        if self._granted:
            return self._granted.popleft()
        while self.queue:
            segment = self.queue.popleft()
            if segment.chain not in segment.job.dead_chains:
                return segment
            segment.drop_inputs(self.outbox.let_go)
        return None

    def put_back(self, segment: Segment) -> None:
        """Queue a segment again that `next` returned and that was not begun."""
        self.queue.appendleft(segment)

    def end_closed(self) -> list[Closed]:
        """Drop what closed jobs have left, which may run finalizers of tasks. Returns the answers to send."""
        closing, self.closing = self.closing, []
        jobs, self._closed_jobs = self._closed_jobs, []
        self._dropped = []
        for job in jobs:
            job.chain_values.clear()
        answers = []
        for frame in closing:
            if not frame.quietly:
                answers.append(Closed(frame.job))
        return answers

    # --- room in the store --------------------------------------------------------------------------------------------

    def ask_room(self, job: int, dataset: int) -> None:
        """Expect an answer of the agent, which is asked for room for a dataset."""
        self._asked, self._answer = (job, dataset), None

    def take_answer(self) -> Grant | None:
        """Return the answer to `ask_room`; None if it is not here yet."""
        answer = self._answer
        if answer is not None:
            self._asked = self._answer = None
        return answer

    def ask_slab(self) -> None:
        """Expect an answer of the agent, which is asked for a slab."""
        self._slabs_asked += 1
        self._give_back_slab()

    def take_slab(self) -> GrantSlab | None:
        """Return the answer to `ask_slab`; None if it is not here yet."""
        slab, self._slab = self._slab, None
        return slab

    def keep_waiting(self, result: WaitingResult) -> None:
        """Keep a result until the agent grants room for it. Its segment ends after that."""
        result.segment.puts += 1
        self._waiting[result.key] = result

    def forget(self, result: WaitingResult) -> None:
        """Stop waiting for room for a result whose task failed."""
        self._waiting.pop(result.key, None)
        self._granted = deque(granted for granted in self._granted if granted.result is not result)

    # --- frames -------------------------------------------------------------------------------------------------------

    def _open(self, frame: OpenJob) -> None:
        self.jobs[frame.job] = RunnerJob(frame.job, frame.graph, frame.sinks, frame.name)

    def _run(self, frame: Run) -> None:
        job = self.jobs.get(frame.job)
        if job is not None:
            self.queue.extend(segments_of(job, frame))
        else:
            self.outbox.let_go.extend(blocks_in(frame.locations))

    def _grant(self, frame: Grant) -> None:
        key = frame.job, frame.dataset
        if key == self._asked:
            self._answer = frame
        elif frame.offset != NO_ROOM_YET and key in self._waiting:
            self._granted.append(Granted(self._waiting.pop(key), frame))

    def _grant_slab(self, frame: GrantSlab) -> None:
        """Keep the answer to the latest question. An earlier one is left if a task stopped waiting, say for a timeout of its own."""
        self._slabs_asked -= 1
        self._slab = frame
        if self._slabs_asked:
            self._give_back_slab()

    def _give_back_slab(self) -> None:
        slab = self.take_slab()
        if slab is not None and slab.offset != NEVER:
            self.outbox.let_go.append(slab.block)

    def _recall(self, frame: Recall) -> None:
        self.recalled, gone = frame.number, frozenset(frame.segments)
        self._drop_queued([segment for segment in self.queue if segment.id in gone])

    def _close(self, frame: CloseJob) -> None:
        self.closing.append(frame)
        job = self.jobs.pop(frame.job, None)
        if job is None:
            return
        job.closed = True
        self._closed_jobs.append(job)
        if self._asked is not None and self._asked[0] == frame.job:
            self._asked = self._answer = None
        if self._waiting or self._granted:
            self._drop_waiting(frame.job)
        queued = [segment for segment in self.queue if segment.job is job]
        if queued:
            self._drop_queued(queued)

    def _drop_queued(self, segments: list[Segment]) -> None:
        for segment in segments:
            segment.drop_inputs(self.outbox.let_go)
        dropped = set(segments)
        self.queue = deque(segment for segment in self.queue if segment not in dropped)

    def _drop_waiting(self, job: int) -> None:
        for key in [key for key in self._waiting if key[0] == job]:
            self._dropped.append(self._waiting.pop(key))
        self._dropped += [granted.result for granted in self._granted if granted.grant.job == job]
        self._granted = deque(granted for granted in self._granted if granted.grant.job != job)


_FEED: dict[type, Callable[[RunnerState, Any], None]] = {
    OpenJob: RunnerState._open,
    Run: RunnerState._run,
    Grant: RunnerState._grant,
    GrantSlab: RunnerState._grant_slab,
    Recall: RunnerState._recall,
    CloseJob: RunnerState._close,
}
