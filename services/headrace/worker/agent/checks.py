"""Checks of what a runner sends, and of what the log orders.

Tasks execute in the runner's process, so a runner may send anything. The orders of the log are checked against the graph of their job.

Each check raises ValueError before anything has changed. The host then replaces the runner, or ignores the order.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.runner import protocol
from headrace.worker.agent.jobs import HostJob, Segment
from headrace_schemas import Assign, TaskError, Written
from headrace_schemas.streams import INLINE_VALUE_BYTES, MAX_MESSAGE_BYTES

LONGEST_SECONDS = 1e9
"""The longest time that a task may take. It keeps sums finite, because JSON has no infinity."""
MOST_TASKS = 1 << 31
"""The largest number of ended tasks. It keeps sums within 64 bits."""


def check_results(job: HostJob, outstanding: dict[int, Segment], frame: protocol.Results) -> None:
    """Check a runner's results for a job. `outstanding`: the segments that the runner has, by id."""
    _same_length("datasets", frame.datasets, frame.values)
    _within("dataset", frame.datasets, len(job.producer))
    for value in frame.values:
        if isinstance(value, bytes) and len(value) > INLINE_VALUE_BYTES:
            raise ValueError(f"a value in a frame has {len(value)} bytes, but at most {INLINE_VALUE_BYTES} are allowed")
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
    """Check a runner's request for memory for a result of one of its segments."""
    _within("dataset", [frame.dataset], len(job.producer))
    if segment.chain.job is not job or job.producer[frame.dataset] not in segment.tasks:
        raise ValueError(f"the runner asks for memory for dataset {frame.dataset}, which segment {segment.id} does not make")
    if frame.nbytes < 0:
        raise ValueError(f"the runner asks for memory of {frame.nbytes} bytes")


def check_allocate_slab(frame: protocol.AllocateSlab) -> None:
    """Check a runner's request for memory for an array."""
    if frame.nbytes < 0:
        raise ValueError(f"the runner asks for memory for an array of {frame.nbytes} bytes")


def check_released(frame: protocol.Released) -> None:
    """Check a runner's message that it released views."""
    _same_length("blocks", frame.blocks, frame.counts)
    if frame.counts and min(frame.counts) < 1:
        raise ValueError("the runner releases a view less than once")


def check_assign(job: HostJob, message: Assign) -> None:
    """Check an assignment of chains to this host."""
    _within("task", message.tasks, job.spec.n_tasks)
    if len(set(message.tasks)) != len(message.tasks):
        raise ValueError("a task is assigned twice in one message")
    if message.hosts != [message.host] and any(host != message.host for host in message.hosts):
        expected = _count_foreign(job, message)
        if len(message.sources) != expected:
            raise ValueError(f"the assignment names {len(message.sources)} sources for {expected} inputs from outside its chains")


def _count_foreign(job: HostJob, message: Assign) -> int:
    """Return the number of inputs that the chains of an assignment take from outside themselves."""
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
    """Check the datasets that an order names."""
    _within("dataset", datasets, len(job.producer))


def _same_length(what: str, *columns: Sequence[object]) -> None:
    length = len(columns[0])
    for column in columns:
        if len(column) != length:
            raise ValueError(f"the columns of {what} differ in length: {[*map(len, columns)]}")


def _within(what: str, ids: list[int], end: int) -> None:
    if ids and not (min(ids) >= 0 and max(ids) < end):
        raise ValueError(f"{what} ids range from {min(ids)} to {max(ids)}, but the job has {end}")


def _check_descriptions(job: HostJob, frame: protocol.Results) -> None:
    """Check the metadata, types and shapes of datasets."""
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
            raise ValueError(f"the runner reports that {count} tasks of a function ended")
    for seconds in (*frame.function_seconds, *frame.function_longest):
        if not 0 <= seconds < LONGEST_SECONDS:  # also false for NaN
            raise ValueError(f"the runner reports that tasks took {seconds} s")


def _check_written(job: HostJob, written: Written) -> None:
    """Check an output that the runner reports as written to a sink."""
    _within("dataset", [written.dataset], len(job.producer))
    if not job.is_output[written.dataset] or job.is_held[written.dataset]:
        raise ValueError(f"the runner reports dataset {written.dataset} as written to a sink, but it has no sink")
    if not 0 <= written.attempt <= job.attempts.get(job.producer[written.dataset], 0):
        raise ValueError(
            f"the runner reports attempt {written.attempt} of dataset {written.dataset} as written to a sink, "
            "but that attempt was not assigned"
        )
    check_fits(written, "the description of an output in a sink")


def _check_failure(job: HostJob, segment: Segment | None, error: TaskError) -> None:
    """Check a failure of a segment. segment: None if it was dropped in the meantime, in which case nobody reads the failure."""
    if segment is None:
        return
    if segment.chain.job is not job or error.task not in segment.tasks:
        raise ValueError(f"the runner reports a failure of task {error.task}, which is not in segment {segment.id}")
    if error.attempt != segment.chain.attempts.get(error.task, 0):
        raise ValueError(f"the runner reports a failure of attempt {error.attempt} of task {error.task}, but that attempt was not assigned")
    check_fits(error, "the description of a failure")


def check_fits(item: object, what: str) -> None:
    """Raise ValueError if an item does not fit into a message on the bus. what: a name for the item."""
    try:
        size = len(msgspec.json.encode(item))
    except Exception as error:  # an EncodeError, TypeError, RecursionError or another one
        raise ValueError(f"{what} cannot be sent as JSON: {error}") from error
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"{what} takes {size} bytes as JSON, but at most {MAX_MESSAGE_BYTES} are allowed")
