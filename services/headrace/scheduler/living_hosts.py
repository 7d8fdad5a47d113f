"""The living hosts, with their load and resources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from headrace.graph.needs import Needs
from headrace.graph.resources import Resources, fits
from headrace.ledger import HostRecord, JobLedger
from headrace.scheduler.fitting import rates_of
from headrace.scheduler.placing import Balance, Floats


class LivingHosts:
    """The hosts that are alive at one moment. names: in ascending order. epochs, resources, runners_of: by name. runners: their total.

    The rate of a host is the number of its runners times its speed relative to the other hosts, and each task is taken to cost a second if
    its duration is unknown. A runner that executes a long task is not counted. A host whose runners all do is held up, and gets no work
    while other hosts can take it.
    """

    def __init__(
        self,
        hosts: Mapping[str, HostRecord],
        load: Mapping[str, int],
        long: Mapping[str, int] | None = None,
        alone: Mapping[str, int] | None = None,
        speeds: Mapping[str, float] | None = None,
    ) -> None:
        """Select the living ones of all known hosts.

        load: for each host, the tasks that are placed there and not done. long: those of them that have run for long. alone: those that run
        alone. speeds: for each host that is faster or slower than others, its relative speed. These four mappings may change later, and are
        read when they are needed.
        """
        living = sorted((record.name, record) for record in hosts.values() if record.alive)
        self.names = [name for name, _ in living]
        self.epochs = {name: record.epoch for name, record in living}
        self.resources = {name: record.resources for name, record in living}
        self.runners_of = {name: max(1, record.runners) for name, record in living}
        self.runners = float(sum(self.runners_of.values()))
        self._load = load
        self._long = {} if long is None else long
        self._alone = {} if alone is None else alone
        self._speeds = {} if speeds is None else speeds

    def rate(self, name: str, runners: int | None = None) -> float:
        """Return the seconds of work that a host does in a second, with all of its runners or with this number of them."""
        return (self.runners_of[name] if runners is None else runners) * self._speeds.get(name, 1.0)

    def idlest(self, need: Resources | None = None) -> str:
        """Return the host with the least work for each of its runners, among those that have the needed resources."""
        able = [name for name in self.names if fits(need, self.resources[name])] if need else self.names
        if len(able) == 1:
            return able[0]
        return min(able, key=lambda name: (self.is_held_up(name), self.busy_seconds(name)))

    def can_take(self, job: JobLedger, task: int, names: Iterable[str]) -> bool:
        """Return whether one of these hosts has the resources that a task needs."""
        need = job.spec.functions[job.spec.function[task]].resources
        return any(fits(need, self.resources[name]) for name in names)

    def is_held_up(self, name: str) -> bool:
        """Whether all runners of a host execute long tasks, or it has a task that runs alone."""
        return self._long.get(name, 0) >= self.runners_of[name] or name in self._alone

    def busy_seconds(self, name: str) -> float:
        """Return the time for which a host is busy with its tasks other than long ones, if each costs a second."""
        if self.is_held_up(name):
            return self._load.get(name, 0) / self.rate(name)
        long = self._long.get(name, 0)
        return max(0, self._load.get(name, 0) - long) / self.rate(name, self.runners_of[name] - long)

    def is_idle(self) -> bool:
        """Whether some host has fewer tasks than runners."""
        return any(self._load.get(name, 0) < runners for name, runners in self.runners_of.items())

    def lacks(self, needs: Needs) -> bool:
        """Whether some tasks can run on none of the hosts."""
        return bool(needs.missing(self.resources.values()))

    def rates(self, needs: Needs, names: list[str] | None = None) -> Floats:
        """Return how many tasks of each kind each of the hosts (all by default) can execute at a time; see `fitting.Demand`."""
        names = self.names if names is None else names
        runners, resources = [float(self.runners_of[name]) for name in names], [self.resources[name] for name in names]
        rates = rates_of(needs, runners, resources)
        return rates * np.array([self._speeds.get(name, 1.0) for name in names]) if self._speeds else rates

    def joined_since(self, before: LivingHosts) -> set[str]:
        """Return the hosts that have joined, or restarted, since the earlier moment `before`."""
        return {name for name, epoch in self.epochs.items() if before.epochs.get(name) != epoch}

    def balance(self, names: list[str] | None = None, task_seconds: float = 1.0) -> Balance:
        """Return the rates of the hosts (all by default), and the time for which each is busy."""
        names = self.names if names is None else names
        if all(map(self.is_held_up, names)):
            return Balance([self.rate(name) for name in names], [self.busy_seconds(name) * task_seconds for name in names])
        rates = [self.rate(name, max(1, self.runners_of[name] - self._long.get(name, 0))) for name in names]
        return Balance(rates, [math.inf if self.is_held_up(name) else self.busy_seconds(name) * task_seconds for name in names])

    def share_of(self, names: set[str]) -> float:
        """Return the share of all work that these hosts do in a second."""
        return sum(map(self.rate, names)) / sum(map(self.rate, self.names))
