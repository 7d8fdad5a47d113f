"""What a runner says, held against what it may say: tasks execute in its process, so anything may come out of it. And what the log says to
this host, held against the graph of its job.

Every check raises ValueError before anything was changed; a runner that said it is replaced, an order is passed over, and nothing else
happens.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.runner import protocol
from headrace.worker.agent.jobs import HostJob, Segment
from headrace_schemas import Assign, TaskError, Written
from headrace_schemas.streams import INLINE_VALUE_BYTES, MAX_MESSAGE_BYTES

LONGEST_SECONDS = 1e9
"""No task took longer, and sums of this stay finite: JSON has no infinity."""
MOST_TASKS = 1 << 31
"""No count of ended tasks is larger, so that sums fit into 64 bits."""


def check_results(job: HostJob, outstanding: dict[int, Segment], frame: protocol.Results) -> None:
    """A runner's results for a job that it has. `outstanding`: the segments that this runner has, by id."""
    _same_length("datasets", frame.datasets, frame.values)
    _within("dataset", frame.datasets, len(job.producer))
    for value in frame.values:
        if isinstance(value, bytes) and len(value) > INLINE_VALUE_BYTES:
            raise ValueError(f"a value of {len(value)} bytes in a frame, where up to {INLINE_VALUE_BYTES} are allowed")
    if frame.tasks:
        _within("task", frame.tasks, job.spec.n_tasks)
    _check_profile(job, frame)
    if frame.metadata_ids or frame.metadata or frame.typed or frame.dtypes or frame.shapes:
        _check_descriptions(job, frame)
    for written in frame.written:
        _check_written(job, written)
    if frame.failed_segments or frame.failed:
        _same_length("failures", frame.failed_segments, frame.failed)
        for id, error in zip(frame.failed_segments, frame.failed, strict=True):
            _check_failure(job, outstanding.get(id), error)


def check_allocate(job: HostJob, segment: Segment, frame: protocol.Allocate) -> None:
    """A runner's question for room for a result of a segment that it has."""
    _within("dataset", [frame.dataset], len(job.producer))
    if segment.chain.job is not job or job.producer[frame.dataset] not in segment.tasks:
        raise ValueError(f"room is asked for dataset {frame.dataset}, which segment {segment.id} does not make")
    if frame.nbytes < 0:
        raise ValueError(f"room is asked for {frame.nbytes} bytes")


def check_allocate_slab(frame: protocol.AllocateSlab) -> None:
    """A runner's question for room for an array."""
    if frame.nbytes < 0:
        raise ValueError(f"room is asked for an array of {frame.nbytes} bytes")


def check_released(frame: protocol.Released) -> None:
    """A runner's word that views are gone."""
    _same_length("blocks", frame.blocks, frame.counts)
    if frame.counts and min(frame.counts) < 1:
        raise ValueError("views are released less than once")


def check_assign(job: HostJob, message: Assign) -> None:
    """Chains that are released to this host."""
    _within("task", message.tasks, job.spec.n_tasks)
    if len(set(message.tasks)) != len(message.tasks):
        raise ValueError("a task is assigned twice in one message")
    if message.hosts != [message.host] and any(host != message.host for host in message.hosts):
        expected = _count_foreign(job, message)
        if len(message.sources) != expected:
            raise ValueError(f"{len(message.sources)} sources for {expected} inputs from outside their chains")


def _count_foreign(job: HostJob, message: Assign) -> int:
    """How many inputs its chains take from outside themselves."""
    start = found = 0
    for length in message.lengths:
        tasks = message.tasks[start : start + length]
        start += length
        if length == 1:
            found += job.input_start[tasks[0] + 1] - job.input_start[tasks[0]]
        else:
            members = set(tasks)
            found += sum(job.producer[dataset] not in members for task in tasks for dataset in job.task_inputs(task))
    return found


def check_datasets(job: HostJob, datasets: list[int]) -> None:
    """Datasets that an order is about."""
    _within("dataset", datasets, len(job.producer))


def _same_length(what: str, *columns: Sequence[object]) -> None:
    length = len(columns[0])
    for column in columns:
        if len(column) != length:
            raise ValueError(f"columns of {what} that differ in length: {[*map(len, columns)]}")


def _within(what: str, ids: list[int], end: int) -> None:
    if ids and not (min(ids) >= 0 and max(ids) < end):
        raise ValueError(f"a {what} between {min(ids)} and {max(ids)}, where the job has {end}")


def _check_descriptions(job: HostJob, frame: protocol.Results) -> None:
    """What is said of datasets besides their values."""
    _same_length("metadata", frame.metadata_ids, frame.metadata)
    _same_length("arrays", frame.typed, frame.dtypes, frame.shapes)
    _within("dataset", frame.metadata_ids, len(job.producer))
    _within("dataset", frame.typed, len(job.producer))
    for metadata in frame.metadata:
        check_fits(metadata, "metadata")
    for array in zip(frame.dtypes, frame.shapes, strict=True):
        check_fits(array, "the type of an array")


def _check_profile(job: HostJob, frame: protocol.Results) -> None:
    _same_length("functions", frame.functions, frame.function_counts, frame.function_seconds, frame.function_longest)
    _within("function", frame.functions, len(job.spec.functions))
    for count in frame.function_counts:
        if not 0 < count < MOST_TASKS:
            raise ValueError(f"{count} tasks of a function ended")
    for seconds in (*frame.function_seconds, *frame.function_longest):
        if not 0 <= seconds < LONGEST_SECONDS:  # also false for what is no number
            raise ValueError(f"tasks took {seconds} s")


def _check_written(job: HostJob, written: Written) -> None:
    """What is said to be in a sink."""
    _within("dataset", [written.dataset], len(job.producer))
    if not job.is_output[written.dataset] or job.is_held[written.dataset]:
        raise ValueError(f"dataset {written.dataset} is said to be in a sink, and has none")
    if not 0 <= written.attempt <= job.attempts.get(job.producer[written.dataset], 0):
        raise ValueError(f"attempt {written.attempt} of dataset {written.dataset} is said to be in a sink, and was not asked for")
    check_fits(written, "what is said to be in a sink")


def _check_failure(job: HostJob, segment: Segment | None, error: TaskError) -> None:
    """A failure of a segment that the runner has (None: dropped meanwhile, so that nobody looks at it)."""
    if segment is None:
        return
    if segment.chain.job is not job or error.task not in segment.tasks:
        raise ValueError(f"a failure of task {error.task}, which is not in segment {segment.id}")
    if error.attempt != segment.chain.attempts.get(error.task, 0):
        raise ValueError(f"a failure of attempt {error.attempt} of task {error.task}, which was not asked for")
    check_fits(error, "a failure's description")


def check_fits(item: object, what: str) -> None:
    """It can be part of a message on the bus."""
    try:
        size = len(msgspec.json.encode(item))
    except Exception as error:  # whatever keeps msgspec from encoding what msgspec decoded
        raise ValueError(f"{what} that cannot be sent as JSON: {error}") from error
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"{what} of {size} bytes as JSON, where up to {MAX_MESSAGE_BYTES} are allowed")
