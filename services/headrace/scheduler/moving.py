"""Work that moves while a job runs.

It moves away from hosts that long tasks hold up (see `relief`), and from hosts that would finish last (see `levelling`). The scheduler
moves work that it has not released yet, and asks hosts to give back other work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from headrace.ledger import ASSIGNED, Ledger
from headrace.scheduler.job import JobSchedule
from headrace.scheduler.levelling import Levelling
from headrace.scheduler.living_hosts import LivingHosts
from headrace.scheduler.relief import Back, Relief
from headrace.scheduler.running import Running
from headrace.scheduler.settings import Settings
from headrace.scheduler.speeds import Speeds


class Relocation(NamedTuple):
    """Unreleased tasks that move from a host to others.

    host: its index in the job's table. tasks: about how many. names: the hosts that get them.
    """

    schedule: JobSchedule
    host: int
    tasks: int
    names: list[str]


class Moves(NamedTuple):
    """The work to move now. asks: the chains that hosts must give back."""

    asks: list[Back]
    relocations: list[Relocation]


class Moving:
    """Finds work to move. back: by job, the tasks that hosts were asked to give back, with the chain of each."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        schedules: Mapping[str, JobSchedule],
        single: Mapping[str, str],
        load: Counter[str],
        running: Running,
        speeds: Speeds,
    ) -> None:
        """Share these objects, except the settings, with the scheduler, which changes them."""
        self.back: dict[str, dict[int, int]] = {}
        self._settings = settings
        self._ledger = ledger
        self._schedules = schedules
        self._single = single
        self._load = load
        self._running = running
        self._speeds = speeds
        self._now = 0.0
        self._idle: set[str] = set()
        """The hosts that were idle at the last look at held-up hosts. The next look comes when more hosts are idle, or some time later."""
        self._relieved = self._levelled = -math.inf
        self._level_due = False
        self._levelled_tasks: dict[str, dict[int, int]] = {}
        """By job: the tasks that were asked back because their host was late, with the chain of each. They are not asked back for that
        reason again, so that wrong predictions do not move work to and fro."""

    def tick(self, now: float) -> None:
        """Take in the time, by the clock of `Scheduler.tick`."""
        self._now = now
        if now - self._levelled >= self._settings.level_seconds:
            self._levelled, self._level_due = now, bool(self._schedules)

    def is_due(self) -> bool:
        """Return whether there may be work to move."""
        return bool(self._running.long) or self._level_due

    def find(self, living: LivingHosts) -> Moves:
        """Return the work to move now among the living hosts."""
        moves = self._relieve(living) if self._running.long else None
        if moves is None and self._level_due:
            moves = self._level(living)
        self._level_due = False
        return moves or Moves([], [])

    def update_idle(self) -> None:
        """Remove hosts that were given work from the idle ones."""
        if self._idle:
            self._idle = set(filter(self._has_nothing, self._idle))

    def add_back(self, back: Back) -> None:
        """Note which chains a host was asked to give back."""
        self.back.setdefault(back.job.job, {}).update(back.chain_of_tasks())

    def forget_job(self, job: str) -> None:
        """Forget which tasks of a job hosts were asked to give back."""
        self.back.pop(job, None)
        self._levelled_tasks.pop(job, None)

    def _relieve(self, living: LivingHosts) -> Moves | None:
        """Return work to take from held-up hosts, if more hosts have become idle, or after some time; otherwise None."""
        names = [name for name in living.names if not living.is_held_up(name)]
        before, self._idle = self._idle, set(filter(self._has_nothing, names))
        if len(names) == len(living.names):
            return None
        if not (self._idle - before or self._now - self._relieved >= self._settings.relief_seconds):
            return None
        self._relieved = self._now
        jobs = self._ledger.jobs
        alone = [(jobs[name], host) for name, host in self._single.items() if host and jobs[name].states[0] == ASSIGNED]
        relief = Relief(living, self._schedules, alone, self._running.executing, self.back, self._n_pending())
        asks = list(relief.asks())
        relocations = [Relocation(*move, names) for move in relief.moves()]
        return Moves(asks, relocations) if asks or relocations else None

    def _level(self, living: LivingHosts) -> Moves | None:
        """Return work to take from the hosts that would finish last, if other hosts are idle; otherwise None."""
        if len(living.names) < 2:
            return None
        idle = [name for name in living.names if self._has_nothing(name) and not living.is_held_up(name)]
        if not idle or len(idle) == len(living.names) or self._n_pending():
            return None
        self._speeds.compare_hosts()
        settings, seconds = self._settings, self._speeds.seconds
        moved = self._levelled_tasks
        late = Levelling(living, self._schedules, idle, moved, seconds, settings.late_seconds, settings.gigabyte_seconds)
        relocations = [Relocation(*move, idle) for move in late.moves()]
        asks = list(late.asks())
        for back in asks:
            moved.setdefault(back.job.job, {}).update(back.chain_of_tasks())
        return Moves(asks, relocations)

    def _n_pending(self) -> int:
        """Return the number of tasks that hosts were asked to give back, and have neither given back nor begun."""
        jobs = self._ledger.jobs
        return sum(jobs[name].states[task] == ASSIGNED for name, tasks in self.back.items() for task in tasks)

    def _has_nothing(self, host: str) -> bool:
        """Return whether a host has no tasks besides those that it is known to execute."""
        return self._load[host] <= self._running.executing[host]
