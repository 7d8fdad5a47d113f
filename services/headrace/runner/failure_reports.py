"""What a runner does when a task fails: it tells the agent, logs the failure, and executes no more of the task's chain."""

from __future__ import annotations

from headrace.logs import get_log
from headrace.runner.channel import Channel
from headrace.runner.delivery import Delivery
from headrace.runner.failures import TaskFailure, describe
from headrace.runner.outbox import Outbox
from headrace.runner.segments import Segment
from headrace.runner.slabs import Slabs
from headrace_schemas import TaskError

log = get_log(__name__)


class FailureReports:
    """Reports failed tasks."""

    def __init__(self, outbox: Outbox, channel: Channel, delivery: Delivery, slabs: Slabs) -> None:
        self._outbox = outbox
        self._channel = channel
        self._delivery = delivery
        self._slabs = slabs

    def report(self, segment: Segment, failure: TaskFailure) -> None:
        """Report at once that the task at the segment's place failed. Its chain ends. Raises AgentGone."""
        job = segment.job
        error = describe(job, segment.task, segment.attempt, failure)
        failure.forget()
        self._outbox.failed(job, segment.id, error)
        self.abandon()
        self._channel.flush()
        job.dead_chains.add(segment.chain)
        _log_failure(job.id, error)

    def abandon(self) -> None:
        """Give back the slabs of the task that is executed, and drop its reports except those of files."""
        self._slabs.forget()
        self._delivery.discard()


def _log_failure(job: str, error: TaskError) -> None:
    log.warning(
        "a task failed",
        job=job,
        task=error.name,
        attempt=error.attempt,
        reason=error.reason,
        error=error.error,
        exception=error.traceback,
    )
