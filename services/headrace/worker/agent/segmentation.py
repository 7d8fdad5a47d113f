"""From an assignment to segments: what of a chain can run in one go, and what it must wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headrace.worker.agent.jobs import Chain, HostJob, Segment
from headrace_schemas import Assign

STAYS, LEAVES, DISCARDED = 0, 1, 2
"""What becomes of a task's datasets: taken by a later task of the chain, by others, or by nobody."""


NO_ATTEMPTS: dict[int, int] = {}
"""Shared by all chains of first attempts; never changed."""
_FATES = ([DISCARDED], [LEAVES])


def chains_of(job: HostJob, assign: Assign, next_id: Callable[[], int]) -> Iterator[tuple[Chain, list[tuple[int, str]]]]:
    """The chains of an assignment that the job never had, cut into segments, each with (dataset, source) of its inputs that another
    host has.

    The segments' entries and `missing` counts are not set: that depends on what is here.
    """
    hosts = _sources(assign)
    start = 0
    for id, position, length in zip(assign.chains, assign.positions or assign.chains, assign.lengths, strict=True):
        end = start + length
        tasks = assign.tasks[start:end]
        chain = Chain(job, id, _attempts(assign, start, end) if assign.attempts else NO_ATTEMPTS, position)
        chain.again, chain.alone = assign.again, assign.alone
        chain.segments = _single(chain, tasks, next_id()) if length == 1 else _cut(chain, tasks, next_id)
        given = [(dataset, host) for dataset in _foreign(chain, tasks) if (host := next(hosts))] if hosts is not None else []
        if id not in job.chains:
            job.open(chain)
            yield chain, given
        start = end


def _sources(assign: Assign) -> Iterator[str] | None:
    """Per input from outside its chain the other host that has it, or nothing; None if this host has them all."""
    if assign.hosts == [assign.host]:
        return None
    names = ["" if name == assign.host else name for name in assign.hosts]
    return iter([names[source] for source in assign.sources]) if any(names) else None


def _attempts(assign: Assign, start: int, end: int) -> dict[int, int]:
    pairs = zip(assign.tasks[start:end], assign.attempts[start:end], strict=True)
    return {task: attempt for task, attempt in pairs if attempt}


def _single(chain: Chain, tasks: list[int], id: int) -> Sequence[Segment]:
    """One task: a segment of its own."""
    job, task = chain.job, tasks[0]
    start, end = job.input_start[task], job.input_start[task + 1]
    inputs = job.inputs[start:end] if end > start else ()
    return (Segment(id, chain, 0, tasks, _FATES[job.is_needed[task]], inputs),)


def _cut(chain: Chain, tasks: list[int], next_id: Callable[[], int]) -> Sequence[Segment]:
    """Begin a segment at each task that takes something from outside the chain."""
    job = chain.job
    first, rows = job.first_output, [job.task_inputs(task) for task in tasks]
    stays = _staying(job, tasks, rows)
    segments: list[Segment] = []
    for task, row in zip(tasks, rows, strict=True):
        outside = [dataset for dataset in row if dataset not in stays]
        if outside or not segments:
            segments.append(Segment(next_id(), chain, len(segments), [], [], outside))
        segments[-1].tasks.append(task)
        segments[-1].leaves.append(STAYS if first[task] in stays else _FATES[job.is_needed[task]][0])
    return segments


def _staying(job: HostJob, tasks: list[int], rows: list[list[int]]) -> set[int]:
    """The datasets that all who take them have in the chain with the task that makes them."""
    uses, first = job.uses_inside, job.first_output
    left = {dataset: uses[dataset] for dataset in [first[task] for task in tasks] if uses[dataset]}
    for row in rows:
        for dataset in row:
            if dataset in left:
                left[dataset] -= 1
    return {dataset for dataset, uses_left in left.items() if not uses_left}


def _foreign(chain: Chain, tasks: list[int]) -> list[int]:
    """The chain's inputs that none of its tasks makes."""
    members, producer = set(tasks), chain.job.producer
    return [dataset for segment in chain.segments for dataset in segment.inputs if producer[dataset] not in members]
