"""Room in the log: which jobs are not admitted, which have to end, and what is removed. Pure: how full the log is arrives as a `Usage`.

The log refuses what it has no room for, and a fact that is missing leaves its job waiting for ever. So the controller looks at it, and

    from 70 %   removes jobs that are over and that nobody can want to hear of any more, the oldest first, until 60 % are left
    from 80 %   admits no new job: each that is submitted ends at once, with that as the reason
    from 95 %   ends jobs that are under way, the largest first, and removes what they wrote

A job is removed when it is over and its outputs were fetched, were in a sink, or have expired. One whose values are in the log itself stays
until its outputs would expire, or, above 80 %, for ten minutes.

Of the jobs that are over, only some are remembered, the oldest of either kind. When these are removed, or a controller that has just
started knows none, the others are looked up (`remnants`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headrace.controller.settings import RoomSettings
from headrace.ledger import ASKED, RELEASED, JobLedger
from headrace.usage import ADMIT_BELOW, Usage


class Remnant(NamedTuple):
    """A job that is over, and still in the log. has_values: whether values of outputs are there that no client released."""

    job: str
    ended_at: float
    has_values: bool


class Room:
    """How full the log is, and what of it can go. expiry: seconds after a job's end for which its values are kept."""

    def __init__(self, expiry: float, settings: RoomSettings | None = None) -> None:
        self.settings = settings or RoomSettings()
        self.usage = Usage(0, 0)
        self._expiry = expiry
        self._remnants: dict[bool, list[Remnant]] = {False: [], True: []}
        """Those without and with values in the log; in the order in which the jobs ended, or nearly."""
        self._missed = True
        """Whether there may be others."""
        self._trimming = False
        self._emptied: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether jobs are admitted."""
        return self.usage.share < ADMIT_BELOW

    @property
    def has_much(self) -> bool:
        """Whether nothing has to be removed."""
        return self.usage.share < self.settings.trim_to_share

    @property
    def is_critical(self) -> bool:
        """Whether jobs that are under way have to end."""
        return self.usage.share >= self.settings.end_from_share

    def forgotten(self, job: JobLedger) -> None:
        """A job is over, and no host holds anything of it."""
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
        """Whether jobs are to be looked up: something has to be removed, and there may be jobs that can be and are not remembered."""
        return self._trimming and self._missed and not self._remnants[False]

    def looked_up(self, found: Sequence[Remnant], complete: bool) -> None:
        """Take in jobs that are over. complete: whether these are all that are in the log, apart from those still in memory."""
        known = {remnant.job for kind in self._remnants.values() for remnant in kind}
        self._missed = not complete
        for remnant in sorted(found, key=_ended_at):
            if remnant.job not in known:
                self._remember(remnant)

    def looked(self, usage: Usage) -> None:
        """The log was looked at."""
        self.usage = usage
        self._trimming = usage.share >= (self.settings.trim_to_share if self._trimming else self.settings.trim_from_share)

    def take_removable(self, now: float) -> list[str]:
        """Jobs to be removed from the log, the oldest first. Each is named once. now: by the log's clock."""
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
        """The job to end now, if one has to: of those under way the one with the most tasks, which writes the most."""
        under_way = [job for job in jobs if job.end is None] if self.is_critical else []
        return max(under_way, key=lambda job: (job.n_tasks, job.submitted), default=None)

    def take_emptied(self, jobs: Iterable[JobLedger]) -> list[str]:
        """Jobs that failed or were cancelled, of which only their submission and their end need stay. Each is named once."""
        if not self.is_critical:
            return []
        found = [job.job for job in jobs if job.over and job.job not in self._emptied]
        self._emptied.update(found)
        return found


def has_values(job: JobLedger) -> bool:
    """Whether values of its outputs are in the log, and no client said that it has them."""
    return not job.over and bool(((job.flags & (ASKED | RELEASED)) == ASKED).any())


def _ended_at(remnant: Remnant) -> float:
    return remnant.ended_at
