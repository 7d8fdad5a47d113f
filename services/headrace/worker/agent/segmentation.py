"""The segments of an assignment's chains: the parts that can run without a wait for another chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headrace.worker.agent.jobs import Chain, HostJob, Segment
from headrace_schemas import Assign

STAYS, LEAVES, DISCARDED = 0, 1, 2
"""The fates of a task's datasets: later tasks of its chain take them, other tasks or the client take them, or nobody does."""


NO_ATTEMPTS: dict[int, int] = {}
"""The attempts of all chains with first attempts only. Never changed."""
_FATES = ([DISCARDED], [LEAVES])


def chains_of(job: HostJob, assign: Assign, next_id: Callable[[], int]) -> Iterator[tuple[Chain, list[tuple[int, str]]]]:
    """Yield the chains of an assignment that are new to the job, each with (dataset, source) of the inputs that another host has.

    The chains are cut into segments. Their `entries` and `missing` are not set, because these depend on the datasets of this host.
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
    """Yield, for each input from outside its chain, the other host that has it, or an empty string. None if this host has all inputs."""
    if assign.hosts == [assign.host]:
        return None
    names = ["" if name == assign.host else name for name in assign.hosts]
    return iter([names[source] for source in assign.sources]) if any(names) else None


def _attempts(assign: Assign, start: int, end: int) -> dict[int, int]:
    pairs = zip(assign.tasks[start:end], assign.attempts[start:end], strict=True)
    return {task: attempt for task, attempt in pairs if attempt}


def _single(chain: Chain, tasks: list[int], id: int) -> Sequence[Segment]:
    """Return the segment of a chain with one task."""
    job, task = chain.job, tasks[0]
    start, end = job.input_start[task], job.input_start[task + 1]
    inputs = job.inputs[start:end] if end > start else ()
    return (Segment(id, chain, 0, tasks, _FATES[job.is_needed[task]], inputs),)


def _cut(chain: Chain, tasks: list[int], next_id: Callable[[], int]) -> Sequence[Segment]:
    """Begin a segment at each task that takes a dataset from outside the chain."""
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
    """Return the datasets whose consumers are all in the chain that makes them."""
    uses, first = job.uses_inside, job.first_output
    left = {dataset: uses[dataset] for dataset in [first[task] for task in tasks] if uses[dataset]}
    for row in rows:
        for dataset in row:
            if dataset in left:
                left[dataset] -= 1
    return {dataset for dataset, uses_left in left.items() if not uses_left}


def _foreign(chain: Chain, tasks: list[int]) -> list[int]:
    """Return the inputs of a chain that none of its tasks makes."""
    members, producer = set(tasks), chain.job.producer
    return [dataset for segment in chain.segments for dataset in segment.inputs if producer[dataset] not in members]
