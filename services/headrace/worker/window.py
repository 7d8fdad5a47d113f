"""From an assignment to segments: what of a chain can run in one go, and what it must wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from headrace.worker.jobs import Chain, HostJob, Segment
from headrace_schemas import Assign

STAYS, LEAVES, DISCARDED = 0, 1, 2
"""What becomes of a task's datasets: taken by a later task of the chain, by others, or by nobody."""


NO_ATTEMPTS: dict[int, int] = {}
"""Shared by all chains of first attempts; never changed."""
_NO_INPUTS: list[int] = []
_FATES = ([DISCARDED], [LEAVES])


def chains_of(job: HostJob, assign: Assign, next_id: Callable[[], int]) -> Iterator[tuple[Chain, list[tuple[int, str]]]]:
    """The chains of an assignment, cut into segments, with (dataset, source host) of each input that another host has.

    The segments' `missing` counts are not set: that depends on what is here.
    """
    sources, names = iter(assign.sources), assign.hosts
    hosts = [name if name != assign.host else "" for name in names]
    start = 0
    for id, length in zip(assign.chains, assign.lengths, strict=True):
        end = start + length
        attempts = _attempts(assign, start, end) if assign.attempts else NO_ATTEMPTS
        chain = Chain(job, id, attempts)
        if length == 1:
            given = _single(job, chain, assign.tasks[start], next_id(), hosts, sources)
        else:
            given = _cut(job, chain, assign.tasks[start:end], next_id, hosts, sources)
        start = end
        yield chain, given


def _attempts(assign: Assign, start: int, end: int) -> dict[int, int]:
    pairs = zip(assign.tasks[start:end], assign.attempts[start:end], strict=True)
    return {task: attempt for task, attempt in pairs if attempt}


def _single(job: HostJob, chain: Chain, task: int, id: int, hosts: list[str], sources: Iterator[int]) -> list[tuple[int, str]]:
    start, end = job.input_start[task], job.input_start[task + 1]
    inputs = job.inputs[start:end] if end > start else _NO_INPUTS
    chain.segments = [Segment(id, chain, 0, [task], _FATES[job.is_needed[task]], inputs)]
    return [(dataset, host) for dataset in inputs if (host := hosts[next(sources)])] if inputs else []


def _cut(
    job: HostJob, chain: Chain, tasks: list[int], next_id: Callable[[], int], hosts: list[str], sources: Iterator[int]
) -> list[tuple[int, str]]:
    """Begin a segment at each task that takes something from outside the chain."""
    stays = _staying(job, tasks)
    members = set(tasks)
    given: list[tuple[int, str]] = []
    segments: list[Segment] = []
    for task in tasks:
        outside = [dataset for dataset in job.task_inputs(task) if dataset not in stays]
        given += [(dataset, hosts[next(sources)]) for dataset in outside if job.producer[dataset] not in members]
        if outside or not segments:
            segments.append(Segment(next_id(), chain, len(segments), [], [], outside))
        segments[-1].tasks.append(task)
        segments[-1].leaves.append(_fate(job, task, stays))
    chain.segments = segments
    return [(dataset, host) for dataset, host in given if host]


def _staying(job: HostJob, tasks: list[int]) -> set[int]:
    """Datasets that only tasks of this chain take, and that nobody asked for."""
    uses = Counter(dataset for task in tasks for dataset in job.task_inputs(task))
    made = {dataset for task in tasks for dataset in job.task_outputs(task) if len(job.task_outputs(task)) == 1}
    return {dataset for dataset in made if 0 < uses[dataset] == job.n_consumers[dataset] and not job.is_output[dataset]}


def _fate(job: HostJob, task: int, stays: set[int]) -> int:
    if job.first_output[task] in stays:
        return STAYS
    return LEAVES if job.is_needed[task] else DISCARDED
