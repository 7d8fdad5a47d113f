"""Frames that an agent sends a runner, made without an agent, for tests of the runner's state."""

from __future__ import annotations

from headrace.runner import protocol
from headrace.runner.job import RunnerJob
from headrace.runner.segments import Segment
from headrace.runner.waiting import WaitingResult
from headrace.values import encode
from headrace_schemas import FunctionSpec, GraphSpec

N_TASKS = 100


def graph(n_tasks: int = N_TASKS) -> GraphSpec:
    """A graph of tasks that take nothing."""
    function = FunctionSpec(name="f", module="m", qualname="f")
    return GraphSpec(name="g", n_tasks=n_tasks, shape_hash="", content_hash="", functions=[function], function=[0] * n_tasks)


def open_job(job: int = 1) -> protocol.OpenJob:
    return protocol.OpenJob(job, graph(), name=f"job-{job}")


def run(*segments: int, job: int = 1, chain: int | None = None, blocks: dict[int, list[int]] | None = None, first: int = 1) -> protocol.Run:
    """Segments of one task each, each in a chain of its own unless one is given. blocks: per segment, the blocks of its inputs."""
    given = [(blocks or {}).get(segment, []) for segment in segments]
    locations: list[protocol.Location] = [(block, 0, 8) for each in given for block in each]
    return protocol.Run(
        job=job,
        segments=list(segments),
        chains=[segment if chain is None else chain for segment in segments],
        lengths=[1] * len(segments),
        tasks=[segment % N_TASKS for segment in segments],
        leaves=[1] * len(segments),
        attempts=[],
        counts=[len(each) for each in given],
        inputs=list(range(len(locations))),
        locations=locations,
        first=first,
    )


def grant(dataset: int, offset: int = 4096, job: int = 1, block: int = 7) -> protocol.Grant:
    return protocol.Grant(job, dataset, block, offset)


def waiting_result(job: RunnerJob, dataset: int, segment: int = 1) -> WaitingResult:
    """The result of a segment's only task."""
    return WaitingResult(Segment(job, segment, segment, [dataset], [1]), 0, dataset, encode("x"), None)
