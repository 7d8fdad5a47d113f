"""The frame that hands segments to a runner."""

from __future__ import annotations

from collections.abc import Callable

from headrace.runner import protocol
from headrace.worker.agent.jobs import Entry, HostJob, Segment


def run_frame(job: HostJob, segments: list[Segment], first: int, locate: Callable[[Entry], protocol.Location]) -> protocol.Run:
    """Return a frame with these segments of a job.

    first: the number of the first segment. locate: returns an input's place in the arena, and counts the mapping.
    """
    if len(segments) == 1 and not segments[0].entries and not job.attempts:
        return _frame_of(job, segments[0], first)
    tasks = [task for segment in segments for task in segment.tasks]
    given = [entry for segment in segments for entry in segment.entries]
    attempts = bool(job.attempts) and any(segment.chain.attempts for segment in segments)
    return protocol.Run(
        job=job.number,
        segments=[segment.id for segment in segments],
        chains=[segment.chain.id for segment in segments],
        lengths=[len(segment.tasks) for segment in segments],
        tasks=tasks,
        leaves=[fate for segment in segments for fate in segment.leaves],
        attempts=[segment.chain.attempts.get(task, 0) for segment in segments for task in segment.tasks] if attempts else [],
        counts=[len(segment.entries) for segment in segments],
        inputs=[entry.dataset for entry in given],
        locations=[entry.value if entry.value is not None else locate(entry) for entry in given],
        first=first,
    )


def _frame_of(job: HostJob, segment: Segment, first: int) -> protocol.Run:
    """Return the frame of one segment without inputs, as most jobs of one task have it: its columns need no loops."""
    return protocol.Run(
        job=job.number,
        segments=[segment.id],
        chains=[segment.chain.id],
        lengths=[len(segment.tasks)],
        tasks=segment.tasks,
        leaves=segment.leaves,
        attempts=[],
        counts=[0],
        inputs=[],
        locations=[],
        first=first,
    )
