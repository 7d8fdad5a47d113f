"""The errors of tasks that could not report their failure themselves."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from headrace.graph.naming import task_name
from headrace.sizes import shown_size
from headrace.worker.agent.jobs import Chain, HostJob
from headrace_schemas import TaskError


class MemoryShortage(NamedTuple):
    """A runner that the kernel killed because memory ran out. peak: the runner's peak memory. limit: its host's memory. Both in bytes."""

    peak: int
    limit: int

    def told_in(self, error: TaskError, host: str, used: int) -> TaskError:
        """Return the error with this reason. used: the bytes of the host's store in use."""
        text = (
            f"the kernel killed the runner (process {error.pid}) because memory ran out while it executed this task. The runner took up "
            f"to {shown_size(self.peak)} of the {shown_size(self.limit)} that host {host} has, besides {shown_size(used)} in the host's "
            "store"
        )
        return msgspec.structs.replace(error, reason="out_of_memory", error=text, memory=self.peak, limit=self.limit)


def not_executed(job: HostJob, chain: Chain, task: int, reason: str, text: str) -> TaskError:
    """Return the error of a task that failed without having run."""
    attempt, name, inputs = chain.attempts.get(task, 0), task_name(job.spec, task), job.input_names(task)
    return TaskError(task=task, attempt=attempt, reason=reason, name=name, inputs=inputs, error=text)


def killed_under(job: HostJob, task: int, attempt: int, code: int, pid: int) -> TaskError:
    """Return the error of a task whose runner died while it executed the task."""
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
