"""Room in the log: whether jobs are admitted, which ones must end, and which ones are removed. Pure functions of a `Usage`.

A full log refuses messages, and a job whose messages are missing waits for ever. So the controller checks how full the log is, and

    from 70 %   removes finished jobs, the oldest first, until the log is 60 % full
    from 80 %   admits no new job: a submitted job fails at once, and its error says that the log is full
    from 95 %   ends running jobs, the largest first, and removes their messages

A finished job is removed once its outputs were fetched, are in a sink, or have expired. A job whose output values are in the log stays
until its outputs would expire; above 80 %, it stays for ten minutes.

The controller remembers a limited number of finished jobs, the oldest of each kind. When these are removed, or when it has just started, it
looks up others (`remnants`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headrace.controller.settings import RoomSettings
from headrace.ledger import ASKED, RELEASED, JobLedger
from headrace.usage import ADMIT_BELOW, Usage


class Remnant(NamedTuple):
    """A finished job that is still in the log.

    ended_at: seconds since 1970. has_values: whether the log has output values that no client released.
    """

    job: str
    ended_at: float
    has_values: bool


class Room:
    """The usage of the log, and the finished jobs in it. expiry: seconds after a job's end for which its values are kept."""

    def __init__(self, expiry: float, settings: RoomSettings | None = None) -> None:
        self.settings = settings or RoomSettings()
        self.usage = Usage(0, 0)
        self._expiry = expiry
        self._remnants: dict[bool, list[Remnant]] = {False: [], True: []}
        """Finished jobs without and with values in the log, roughly in the order in which they ended."""
        self._missed = True
        """Whether the log may have more finished jobs than these."""
        self._trimming = False
        self._emptied: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether jobs are admitted."""
        return self.usage.share < ADMIT_BELOW

    @property
    def has_much(self) -> bool:
        """Whether no job has to be removed."""
        return self.usage.share < self.settings.trim_to_share

    @property
    def is_critical(self) -> bool:
        """Whether running jobs have to end."""
        return self.usage.share >= self.settings.end_from_share

    def forgotten(self, job: JobLedger) -> None:
        """Remember a finished job of which no host holds any data."""
        self._emptied.discard(job.job)
        self._remember(Remnant(job.job, job.ended_at, has_values(job)))

    def _remember(self, remnant: Remnant) -> None:
        kind = self._remnants[remnant.has_values]
        if len(kind) < self.settings.remembered:
            kind.append(remnant)
        else:
            self._missed = True

    @property
    def is_short(self) -> bool:
        """Whether finished jobs must be looked up: jobs have to be removed, and none is remembered, but there may be some."""
        return self._trimming and self._missed and not self._remnants[False]

    def add_remnants(self, found: Sequence[Remnant], complete: bool) -> None:
        """Remember finished jobs that were looked up. complete: whether these are all, apart from those still in memory."""
        known = {remnant.job for kind in self._remnants.values() for remnant in kind}
        self._missed = not complete
        for remnant in sorted(found, key=_ended_at):
            if remnant.job not in known:
                self._remember(remnant)

    def note_usage(self, usage: Usage) -> None:
        """Note how full the log is."""
        self.usage = usage
        self._trimming = usage.share >= (self.settings.trim_to_share if self._trimming else self.settings.trim_from_share)

    def take_removable(self, now: float) -> list[str]:
        """Return the jobs to remove from the log, the oldest first, each once. now: by the log's clock."""
        if not self._trimming:
            return []
        oldest = sorted((remnant for kind in self._remnants.values() for remnant in kind), key=_ended_at)
        removable = [remnant.job for remnant in oldest if self._may_go(remnant, now)][: self.settings.removed_at_once]
        gone = set(removable)
        for has_values, kind in self._remnants.items():
            self._remnants[has_values] = [remnant for remnant in kind if remnant.job not in gone]
        return removable

    def _may_go(self, remnant: Remnant, now: float) -> bool:
        wanted = 0.0 if not remnant.has_values else self._expiry if self.is_open else min(self._expiry, self.settings.values_seconds)
        return now - remnant.ended_at > max(self.settings.settled_seconds, wanted)

    def to_end(self, jobs: Iterable[JobLedger]) -> JobLedger | None:
        """Return the running job to end, if one has to: the one with the most tasks, since it writes the most."""
        under_way = [job for job in jobs if job.end is None] if self.is_critical else []
        return max(under_way, key=lambda job: (job.n_tasks, job.submitted), default=None)

    def take_emptied(self, jobs: Iterable[JobLedger]) -> list[str]:
        """Return failed and cancelled jobs, each once. All their messages except submission and end can be removed."""
        if not self.is_critical:
            return []
        found = [job.job for job in jobs if job.over and job.job not in self._emptied]
        self._emptied.update(found)
        return found


def has_values(job: JobLedger) -> bool:
    """Whether the log has output values of a job that no client has released."""
    return not job.over and bool(((job.flags & (ASKED | RELEASED)) == ASKED).any())


def _ended_at(remnant: Remnant) -> float:
    return remnant.ended_at
