"""The hosts that live, as the scheduler weighs them."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.graph.needs import Needs
from headrace.graph.resources import Resources, fits
from headrace.ledger import HostRecord
from headrace.scheduler.fitting import rates_of
from headrace.scheduler.placing import Balance, Floats


class Cluster:
    """The living hosts at one moment. names: in ascending order. epochs, resources: by name.

    A host's rate is its number of runners: tasks cost a second each unless something better is known.
    """

    def __init__(self, hosts: Mapping[str, HostRecord], load: Mapping[str, int]) -> None:
        """hosts: all that are known. load: per host, tasks placed there and not done; may change later."""
        living = sorted((record.name, record) for record in hosts.values() if record.alive)
        self.names = [name for name, _ in living]
        self.epochs = {name: record.epoch for name, record in living}
        self.resources = {name: record.resources for name, record in living}
        self._rates = {name: float(max(1, record.runners)) for name, record in living}
        self._load = load

    def idlest(self, need: Resources | None = None) -> str:
        """The host that has the least to do for each of its runners, of those that have what is needed."""
        able = [name for name in self.names if fits(need, self.resources[name])] if need else self.names
        return min(able, key=lambda name: self._load.get(name, 0) / self._rates[name])

    @property
    def runners(self) -> float:
        """How many runners there are."""
        return sum(self._rates.values())

    @property
    def is_idle(self) -> bool:
        """Whether some host has fewer tasks than runners."""
        return any(self._load.get(name, 0) < rate for name, rate in self._rates.items())

    def lacks(self, needs: Needs) -> bool:
        """Whether some tasks can run on none of the hosts."""
        return bool(needs.missing(self.resources.values()))

    def rates(self, needs: Needs, names: list[str] | None = None) -> Floats:
        """How many tasks of each kind each host (of all, or some) can execute at once; see `fitting.Demand`."""
        names = self.names if names is None else names
        return rates_of(needs, [self._rates[name] for name in names], [self.resources[name] for name in names])

    def joined_since(self, before: Cluster) -> set[str]:
        """The hosts that have taken up work since, also those that started anew."""
        return {name for name, epoch in self.epochs.items() if before.epochs.get(name) != epoch}

    def balance(self, names: list[str] | None = None, task_seconds: float = 1.0) -> Balance:
        """The hosts (all, or some) with what they are busy with."""
        names = self.names if names is None else names
        rates = [self._rates[name] for name in names]
        return Balance(rates, [self._load.get(name, 0) * task_seconds / rate for name, rate in zip(names, rates, strict=True)])

    def share_of(self, names: set[str]) -> float:
        """The part of the cluster's runners that these hosts have."""
        return sum(self._rates[name] for name in names) / sum(self._rates.values())
