"""What a connection knows about its own jobs, so that `Cluster.jobs` and `outputs` include it at once.

Services write the bucket `jobs` and the catalogue of outputs a little after the log. A client that waited for a job knows more than these
contain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from headrace.client.settings import SETTINGS
from headrace_schemas import JobEntry


class _Ended(NamedTuple):
    entry: JobEntry
    outputs: int


class Known:
    """Open jobs, each with a function that returns its current entry, and jobs that ended a short time ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, Callable[[], JobEntry]] = {}
        self._ended: dict[str, tuple[float, _Ended]] = {}

    def add_job(self, job: str, tell: Callable[[], JobEntry]) -> None:
        """Note that a job was submitted. tell: returns its current entry."""
        self._open[job] = tell

    def end_job(self, entry: JobEntry, outputs: int) -> None:
        """Note that a job is over. outputs: how many of its outputs are announced, or will be."""
        self._open.pop(entry.job, None)
        self._ended[entry.job] = self._clock(), _Ended(entry, outputs)
        self._forget()

    def forget_job(self, job: str) -> None:
        """Forget a job, whose messages no longer arrive."""
        self._open.pop(job, None)

    def added_to(self, entries: Iterable[JobEntry]) -> list[JobEntry]:
        """Merge the cluster's entries with what is known here: jobs that are not listed yet, and how jobs ended."""
        self._forget()
        found = {entry.job: entry for entry in entries}
        for job, tell in list(self._open.items()):
            if job not in found:
                found[job] = tell()
        for job, (_, ended) in self._ended.items():
            if job not in found or not found[job].ended:
                found[job] = ended.entry
        return list(found.values())

    def outputs(self) -> dict[str, int]:
        """Return, for each job that ended a short time ago, how many of its outputs are announced, or will be soon."""
        self._forget()
        return {job: ended.outputs for job, (_, ended) in self._ended.items() if ended.outputs}

    def _forget(self) -> None:
        now = self._clock()
        while self._ended:
            job, (since, _) = next(iter(self._ended.items()))
            if now - since < SETTINGS.known_seconds:
                return
            del self._ended[job]
