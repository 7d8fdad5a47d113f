"""What a runner has to report, collected so that many short tasks share one frame."""

from __future__ import annotations

import socket
from collections import Counter, deque

from headrace.values import ArrayType
from headrace.worker import protocol
from headrace_schemas import TaskError, Written


class Outbox:
    """Collects results and sends them. Blocks in `flush` if the agent does not read."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._results = protocol.Results(job=-1)
        self._profile: dict[int, list[float]] = {}
        self._waiting = False
        self.let_go: deque[int] = deque()
        """Blocks whose view is gone. Finalizers append to it, at any moment and from any thread."""
        self.since = 0.0
        """When the oldest unsent result was added, by the caller's clock."""

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send."""
        return self._waiting

    def _open(self, job: int, now: float) -> protocol.Results:
        if self._results.job != job and self._waiting:
            self.flush()
        if not self._waiting:
            self._results.job = job
            self._waiting = True
            self.since = now
        return self._results

    def segment_done(self, job: int, segment: int, now: float) -> None:
        """A segment ended well and all that leaves it is out."""
        self._open(job, now).segments.append(segment)

    def task_done(self, job: int, task: int, now: float) -> None:
        """A task of a longer segment ended well."""
        self._open(job, now).tasks.append(task)

    def dataset(self, job: int, dataset: int, value: bytes | int, metadata: dict[str, object] | None, now: float) -> None:
        """A dataset left its chain: its encoded value, or the id of the block that holds it."""
        results = self._open(job, now)
        results.datasets.append(dataset)
        results.values.append(value)
        if metadata:
            results.metadata_ids.append(dataset)
            results.metadata.append(metadata)

    def written(self, job: int, written: Written, metadata: dict[str, object] | None, now: float) -> None:
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

    def failed(self, job: int, segment: int, error: TaskError, now: float) -> None:
        """A task raised; its segment ends here."""
        results = self._open(job, now)
        results.failed.append(error)
        results.failed_segments.append(segment)

    def profile(self, function: int, seconds: float) -> None:
        """One more task of a function took so long."""
        entry = self._profile.get(function)
        if entry is None:
            self._profile[function] = [1, seconds, seconds]
            return
        entry[0] += 1
        entry[1] += seconds
        if seconds > entry[2]:
            entry[2] = seconds

    def flush(self) -> None:
        """Send everything. Raises OSError when the agent is gone."""
        data = b""
        if self.let_go:
            counts = Counter(self.let_go.popleft() for _ in range(len(self.let_go)))
            data = protocol.pack(protocol.Released(list(counts), list(counts.values())))
        if self._waiting:
            self._add_profile()
            data = protocol.pack(self._results) + data
            self._results = protocol.Results(job=-1)
            self._waiting = False
        if data:
            self._sock.sendall(data)

    def _add_profile(self) -> None:
        results = self._results
        for function, (count, total, longest) in self._profile.items():
            results.functions.append(function)
            results.function_counts.append(int(count))
            results.function_seconds.append(total)
            results.function_longest.append(longest)
        self._profile.clear()
