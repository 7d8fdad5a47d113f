"""What a runner has to report, collected so that many short tasks share one frame."""

from __future__ import annotations

from collections import Counter, deque

from headrace.runner import protocol
from headrace.runner.job import RunnerJob
from headrace.values import ArrayType
from headrace_schemas import TaskError, Written


class Outbox:
    """Collects results until they are sent."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds on the caller's clock, which the caller sets whenever it looks at the clock."""
        self.since = 0.0
        """When the oldest result was added."""
        self.let_go: deque[int] = deque()
        """Blocks whose views are gone. Finalizers append to it, at any moment and from any thread."""
        self._job: RunnerJob | None = None
        self._results = protocol.Results(-1)
        """The results of that job."""
        self._earlier: list[protocol.Frame] = []
        """The results of other jobs, which came before."""

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send."""
        return self._job is not None or bool(self.let_go)

    def segment_done(self, job: RunnerJob, segment: int) -> None:
        """Report that a segment was executed and its datasets were reported."""
        self._open(job).segments.append(segment)

    def task_done(self, job: RunnerJob, task: int) -> None:
        """Report that a task was executed whose segment goes on."""
        self._open(job).tasks.append(task)

    def dataset(self, job: RunnerJob, dataset: int, value: bytes | int, metadata: dict[str, object] | None) -> None:
        """Report a dataset that leaves its chain. value: its encoded value, or the id of the block that holds it."""
        results = self._open(job)
        results.datasets.append(dataset)
        results.values.append(value)
        if metadata:
            results.metadata_ids.append(dataset)
            results.metadata.append(metadata)

    def array(self, dataset: int, array: ArrayType) -> None:
        """Report that the dataset that was added last is one array."""
        self._results.typed.append(dataset)
        self._results.dtypes.append(array.dtype)
        self._results.shapes.append(array.shape)

    def written(self, job: RunnerJob, written: Written, metadata: dict[str, object] | None) -> None:
        """Report an output that was written to its sink."""
        results = self._open(job)
        results.written.append(written)
        if metadata:
            results.metadata_ids.append(written.dataset)
            results.metadata.append(metadata)

    def failed(self, job: RunnerJob, segment: int, error: TaskError) -> None:
        """Report that a task failed, which ends its segment."""
        results = self._open(job)
        results.failed.append(error)
        results.failed_segments.append(segment)

    def take(self) -> list[protocol.Frame]:
        """Return the frames to send, and begin anew."""
        if self._job is not None:
            self._complete(self._job)
            self._job = None
        frames, self._earlier = self._earlier, []
        if self.let_go:
            counts = Counter(self.let_go.popleft() for _ in range(len(self.let_go)))
            frames.append(protocol.Released(list(counts), list(counts.values())))
        return frames

    def _open(self, job: RunnerJob) -> protocol.Results:
        if self._job is not job:
            if self._job is None:
                self.since = self.now
            else:
                self._complete(self._job)
            self._job = job
            self._results = protocol.Results(job.number)
        return self._results

    def _complete(self, job: RunnerJob) -> None:
        job.report_profile(self._results)
        self._earlier.append(self._results)
