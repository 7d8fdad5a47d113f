"""What a connection knows of its own jobs, so that it is true at once in what the cluster is asked for.

The bucket `jobs` and the catalogue of outputs are written by services that read the log, a little after it. Whoever waited for a job knows
more than they do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from headrace.client.settings import KNOWN_SECONDS
from headrace_schemas import JobEntry


class _Ended(NamedTuple):
    entry: JobEntry
    outputs: int


class Known:
    """Jobs that are open, each with a function that tells of it as it stands, and those that ended a short time ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, Callable[[], JobEntry]] = {}
        self._ended: dict[str, tuple[float, _Ended]] = {}

    def begin(self, job: str, tell: Callable[[], JobEntry]) -> None:
        """A job was submitted."""
        self._open[job] = tell

    def end(self, entry: JobEntry, outputs: int) -> None:
        """A job is over, and so many of its outputs are, or will be, announced."""
        self._open.pop(entry.job, None)
        self._ended[entry.job] = self._clock(), _Ended(entry, outputs)
        self._forget()

    def drop(self, job: str) -> None:
        """A job will not be heard of any more."""
        self._open.pop(job, None)

    def added_to(self, entries: Iterable[JobEntry]) -> list[JobEntry]:
        """What the cluster says of jobs, with what is known better here: jobs that it does not mention yet, and ends."""
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
        """Per job that ended a short time ago: how many of its outputs are announced, now or soon."""
        self._forget()
        return {job: ended.outputs for job, (_, ended) in self._ended.items() if ended.outputs}

    def _forget(self) -> None:
        now = self._clock()
        while self._ended:
            job, (since, _) = next(iter(self._ended.items()))
            if now - since < KNOWN_SECONDS:
                return
            del self._ended[job]
