"""What a runner has to report, collected so that many short tasks share one frame."""

from __future__ import annotations

import socket
from collections import Counter, deque

from headrace.runner import protocol
from headrace.runner.failures import AgentGone
from headrace.runner.job import RunnerJob
from headrace.values import ArrayType
from headrace_schemas import TaskError, Written


class Outbox:
    """Collects results and sends them. Blocks in `flush` if the agent does not read."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._job: RunnerJob | None = None
        """Whose results wait."""
        self._results = protocol.Results(-1)
        self.let_go: deque[int] = deque()
        """Blocks whose view is gone. Finalizers append to it, at any moment and from any thread."""
        self.since = 0.0
        """When the oldest unsent result was added, by the caller's clock."""

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send."""
        return self._job is not None or bool(self.let_go)

    def _open(self, job: RunnerJob, now: float) -> protocol.Results:
        if self._job is not job:
            if self._job is not None:
                self.flush()
            self._job = job
            self._results = protocol.Results(job.number)
            self.since = now
        return self._results

    def segment_done(self, job: RunnerJob, segment: int, now: float) -> None:
        """A segment ended well and all that leaves it is out."""
        self._open(job, now).segments.append(segment)

    def task_done(self, job: RunnerJob, task: int, now: float) -> None:
        """A task of a longer segment ended well."""
        self._open(job, now).tasks.append(task)

    def dataset(self, job: RunnerJob, dataset: int, value: bytes | int, metadata: dict[str, object] | None, now: float) -> None:
        """A dataset left its chain: its encoded value, or the id of the block that holds it."""
        results = self._open(job, now)
        results.datasets.append(dataset)
        results.values.append(value)
        if metadata:
            results.metadata_ids.append(dataset)
            results.metadata.append(metadata)

    def written(self, job: RunnerJob, written: Written, metadata: dict[str, object] | None, now: float) -> None:
        """An output was written to its sink."""
        results = self._open(job, now)
        results.written.append(written)
        if metadata:
            results.metadata_ids.append(written.dataset)
            results.metadata.append(metadata)

    def array(self, dataset: int, array: ArrayType) -> None:
        """The dataset that was added last is one array."""
        self._results.typed.append(dataset)
        self._results.dtypes.append(array.dtype)
        self._results.shapes.append(array.shape)

    def failed(self, job: RunnerJob, segment: int, error: TaskError, now: float) -> None:
        """A task raised; its segment ends here."""
        results = self._open(job, now)
        results.failed.append(error)
        results.failed_segments.append(segment)

    def flush(self) -> None:
        """Send everything. Raises AgentGone."""
        if self.waiting:
            self.send()

    def send(self, *more: protocol.Frame) -> None:
        """Send everything, and then more. Raises AgentGone."""
        frames: list[protocol.Frame] = []
        if self._job is not None:
            self._job.report_profile(self._results)
            frames.append(self._results)
            self._job = None
        if self.let_go:
            counts = Counter(self.let_go.popleft() for _ in range(len(self.let_go)))
            frames.append(protocol.Released(list(counts), list(counts.values())))
        try:
            self._sock.sendall(protocol.pack(*frames, *more))
        except OSError:
            raise AgentGone from None
