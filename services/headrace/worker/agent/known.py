"""The jobs that a host knows: by name, by the number that runners know them by, and those that are over."""

from __future__ import annotations

from headrace.graph.naming import task_name
from headrace.worker.agent.jobs import HostJob


class KnownJobs:
    """What the machines of an agent share about jobs.

    epoch: the present one of this host. remembered: how many jobs are known to be over.
    """

    def __init__(self, epoch: int, remembered: int) -> None:
        self.epoch = epoch
        self.remembered = remembered
        self.by_name: dict[str, HostJob] = {}
        self.by_number: dict[int, HostJob] = {}
        self.over: dict[str, None] = {}
        self.forgotten: dict[int, str] = {}
        """Numbers and names of jobs that are over, whose runners may still write to sinks."""
        self.doomed: dict[tuple[int, int], float] = {}
        """Since when a runner (slot) executes a task of a job (number) that is over."""

    def called(self, number: int, task: int = -1) -> dict[str, str]:
        """What a job that has this number here is called, and a task of it, for people; nothing for a job that is gone."""
        job = self.by_number.get(number)
        if job is None:
            return {}
        return {"job": job.name, "task": task_name(job.spec, task)} if task >= 0 else {"job": job.name}

    def granted_bytes(self, number: int, dataset: int) -> int:
        """Bytes of the place that a job's dataset was granted; 0 if it is none any more."""
        job = self.by_number.get(number)
        entry = job.entries.get(dataset) if job is not None else None
        return entry.granted.nbytes if entry is not None and entry.granted is not None else 0
