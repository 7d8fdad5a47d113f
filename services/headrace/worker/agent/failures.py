"""What is reported of tasks that failed without having said so themselves."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from headrace.graph.naming import task_name
from headrace.sizes import shown_size
from headrace.worker.agent.jobs import Chain, HostJob
from headrace_schemas import TaskError


class MemoryShortage(NamedTuple):
    """Bytes of memory that a runner had at its peak when the kernel killed it for want of memory, and that its host has."""

    peak: int
    limit: int

    def told_in(self, error: TaskError, host: str, used: int) -> TaskError:
        """What is reported of the task instead. used: bytes of the host's store in use."""
        text = (
            f"the kernel killed the runner (process {error.pid}) for want of memory while it executed this task: it had "
            f"{shown_size(self.peak)} at its peak, of the {shown_size(self.limit)} that host {host} has, with "
            f"{shown_size(used)} in its store"
        )
        return msgspec.structs.replace(error, reason="out_of_memory", error=text, memory=self.peak, limit=self.limit)


def not_executed(job: HostJob, chain: Chain, task: int, reason: str, text: str) -> TaskError:
    """What is reported of a task of a chain that failed without having run."""
    attempt, name, inputs = chain.attempts.get(task, 0), task_name(job.spec, task), job.input_names(task)
    return TaskError(task=task, attempt=attempt, reason=reason, name=name, inputs=inputs, error=text)


def killed_under(job: HostJob, task: int, attempt: int, code: int, pid: int) -> TaskError:
    """What is reported of a task whose runner died under it."""
    how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    return TaskError(
        task=task,
        attempt=attempt,
        reason="runner_died",
        name=task_name(job.spec, task),
        inputs=job.input_names(task),
        error=f"the runner (process {pid}) {how} while it executed this task",
        pid=pid,
    )
