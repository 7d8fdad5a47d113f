"""The jobs that a host knows: by name, by the number that its runners know, and those that are over."""

from __future__ import annotations

from headrace.graph.naming import task_name
from headrace.worker.agent.jobs import HostJob


class KnownJobs:
    """The state of jobs that the parts of an agent share.

    epoch: the host's current epoch. remembered: the number of ended jobs that the host remembers.
    """

    def __init__(self, epoch: int, remembered: int) -> None:
        self.epoch = epoch
        self.remembered = remembered
        self.by_name: dict[str, HostJob] = {}
        self.by_number: dict[int, HostJob] = {}
        self.over: dict[str, None] = {}
        self.forgotten: dict[int, str] = {}
        """Numbers and names of ended jobs whose runners may still write to sinks."""
        self.doomed: dict[tuple[int, int], float] = {}
        """Runners (slots) that execute a task of an ended job (number), and the time at which the job ended."""

    def called(self, number: int, task: int = -1) -> dict[str, str]:
        """Return the names of a job and of one of its tasks, for messages. Empty if this host does not know the number."""
        job = self.by_number.get(number)
        if job is None:
            return {}
        return {"job": job.name, "task": task_name(job.spec, task)} if task >= 0 else {"job": job.name}

    def granted_bytes(self, number: int, dataset: int) -> int:
        """Return the size of the block that was granted for a job's dataset; 0 if there is none."""
        job = self.by_number.get(number)
        entry = job.entries.get(dataset) if job is not None else None
        return entry.granted.nbytes if entry is not None and entry.granted is not None else 0
