"""From an assignment to segments: what of a chain can run in one go, and what it must wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from headrace.worker.jobs import Chain, HostJob, Segment
from headrace_schemas import Assign

STAYS, LEAVES, DISCARDED = 0, 1, 2
"""What becomes of a task's datasets: taken by a later task of the chain, by others, or by nobody."""


def chains_of(job: HostJob, assign: Assign, next_id: Callable[[], int]) -> Iterator[tuple[Chain, list[tuple[int, str]]]]:
    """The chains of an assignment, cut into segments, with (dataset, source host) of each input from outside the chain.

    The segments' `inputs` are set, their `missing` counts are not: that depends on what is here.
    """
    sources = iter(assign.sources)
    start = 0
    for id, length in zip(assign.chains, assign.lengths, strict=True):
        tasks = assign.tasks[start : start + length]
        attempts = dict(zip(tasks, assign.attempts[start : start + length], strict=False))
        chain = Chain(job, id, {task: attempt for task, attempt in attempts.items() if attempt})
        start += length
        if length == 1:
            given = [(dataset, assign.hosts[next(sources)]) for dataset in job.task_inputs(tasks[0])]
            _single(job, chain, tasks[0], next_id)
        else:
            given = _cut(job, chain, tasks, next_id, assign.hosts, sources)
        yield chain, given


def _single(job: HostJob, chain: Chain, task: int, next_id: Callable[[], int]) -> None:
    segment = Segment(next_id(), chain, 0)
    segment.tasks = [task]
    segment.inputs = job.task_inputs(task)
    segment.leaves = [LEAVES if any(map(job.needed, job.task_outputs(task))) else DISCARDED]
    chain.segments = [segment]


def _cut(
    job: HostJob, chain: Chain, tasks: list[int], next_id: Callable[[], int], hosts: list[str], sources: Iterator[int]
) -> list[tuple[int, str]]:
    """Begin a segment at each task that takes something from outside the chain."""
    stays = _staying(job, tasks)
    members = set(tasks)
    given: list[tuple[int, str]] = []
    segment: Segment | None = None
    for task in tasks:
        outside = [dataset for dataset in job.task_inputs(task) if dataset not in stays]
        given += [(dataset, hosts[next(sources)]) for dataset in outside if job.producer[dataset] not in members]
        if segment is None or outside:
            segment = Segment(next_id(), chain, len(chain.segments))
            segment.inputs = outside
            chain.segments.append(segment)
        segment.tasks.append(task)
        segment.leaves.append(_fate(job, task, stays))
    return given


def _staying(job: HostJob, tasks: list[int]) -> set[int]:
    """Datasets that only tasks of this chain take, and that nobody asked for."""
    uses = Counter(dataset for task in tasks for dataset in job.task_inputs(task))
    made = {dataset for task in tasks for dataset in job.task_outputs(task) if len(job.task_outputs(task)) == 1}
    return {dataset for dataset in made if 0 < uses[dataset] == job.n_consumers[dataset] and not job.is_output[dataset]}


def _fate(job: HostJob, task: int, stays: set[int]) -> int:
    outputs = job.task_outputs(task)
    if outputs[0] in stays:
        return STAYS
    return LEAVES if any(map(job.needed, outputs)) else DISCARDED
