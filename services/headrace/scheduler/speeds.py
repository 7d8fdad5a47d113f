"""The durations of functions and the relative speeds of hosts, as learned from finished tasks.

A function is known by its name and its code, so that durations from one job count for the next. The speed of a host follows from the
functions that ran on several hosts: each function gives the ratio of its geometric mean duration over these hosts to its duration on this
host. The speed is the geometric mean of these ratios, weighted by the host's number of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from headrace.ledger import JobLedger
from headrace.scheduler.placing import Floats
from headrace.scheduler.wave_plan import Costs
from headrace_schemas import Events, FunctionSpec

LEAST_TASKS = 5
"""The number of a function's tasks that a host must have finished before they count for the host's speed."""
LEAST_SECONDS = 0.002
"""Mean duration below which a function does not count for speeds, because it is mostly the cost of the call."""
MOST_TASKS = 256.0
"""The number of tasks that a mean remembers. Beyond that, each new task replaces part of the old ones, so that the scheduler notices when a
host recovers."""
ALIKE = 1.3
"""Hosts whose speeds differ by less than this factor count as equally fast, so that noise moves no work."""
LEAST_SHARE = 1e-3
"""The least cost of a function in a plan, as a share of the mean, so that no task is free."""
FASTEST = 16.0
"""The largest factor between a host's speed and the mean. Larger measurements are cut to it."""


class FunctionKey(NamedTuple):
    """The identity of a function across jobs."""

    name: str
    module: str
    qualname: str
    code: bytes

    @classmethod
    def of(cls, spec: FunctionSpec) -> FunctionKey:
        """Return the key of a function of a graph."""
        code = blake2b(spec.pickled, digest_size=8).digest() if spec.pickled else b""
        return cls(spec.name, spec.module, spec.qualname, code)


class Mean:
    """A mean over about the last `MOST_TASKS` values: older values lose weight."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.count = self.total = 0.0

    def add(self, count: int, total: float) -> None:
        """Add `count` values with the sum `total`."""
        if self.count + count > MOST_TASKS:
            kept = max(0.0, MOST_TASKS - count) / self.count if self.count else 0.0
            self.count, self.total = self.count * kept, self.total * kept
        self.count += count
        self.total += total

    @property
    def value(self) -> float:
        """The mean; 0 if there is no value."""
        return self.total / self.count if self.count else 0.0


class Speeds:
    """The durations of functions per host, in seconds, and the speeds of hosts.

    hosts: the relative speed of each host that is faster or slower than the others; 1.0 for one that is not listed.
    """

    def __init__(self, most_functions: int) -> None:
        """most_functions: the number of functions that are remembered; those that ran longest ago are forgotten first."""
        self.hosts: dict[str, float] = {}
        self._most_functions = most_functions
        self._means: dict[FunctionKey, dict[str, Mean]] = {}
        self._keys: dict[str, list[FunctionKey]] = {}
        """Per open job: the keys of its functions."""
        self._changed = False

    def learn(self, job: JobLedger, events: Events) -> None:
        """Take in the durations that a host reports of a job's functions."""
        keys = self._keys_of(job)
        for entry in events.profile:
            if 0 <= entry.function < len(keys) and entry.count > 0:
                key = keys[entry.function]
                means = self._means.pop(key, {})
                self._means[key] = means  # the newest stand last
                means.setdefault(events.host, Mean()).add(entry.count, entry.total)
                self._changed = True
        while len(self._means) > self._most_functions:
            del self._means[next(iter(self._means))]

    def forget_job(self, job: str) -> None:
        """Forget a job's functions, but keep their durations."""
        self._keys.pop(job, None)

    def forget_host(self, host: str) -> None:
        """Forget the durations on a host that has restarted, because it may be another machine."""
        for means in self._means.values():
            means.pop(host, None)
        self._changed = True
        self.compare_hosts()

    def _keys_of(self, job: JobLedger) -> list[FunctionKey]:
        keys = self._keys.get(job.job)
        if keys is None:
            keys = self._keys[job.job] = [FunctionKey.of(spec) for spec in job.spec.functions]
        return keys

    def compare_hosts(self) -> None:
        """Update `hosts` with the durations learned since the last call."""
        if not self._changed:
            return
        self._changed = False
        sums: dict[str, list[float]] = {}
        for means in self._means.values():
            known = {host: mean for host, mean in means.items() if mean.count >= LEAST_TASKS}
            if len(known) > 1 and min(mean.value for mean in known.values()) >= LEAST_SECONDS:
                _add_logs(known, sums)
        speeds = {host: math.exp(total / weight) for host, (total, weight) in sums.items()}
        self.hosts.clear()
        self.hosts.update(_clear_differences(speeds))

    def seconds(self, job: JobLedger) -> Floats:
        """Return the expected seconds of a task per function of a job, on a host of speed 1; NaN for a function that never ran."""
        return np.array([self._normal_seconds(key) for key in self._keys_of(job)])

    def costs(self, job: JobLedger, default: Costs) -> Costs:
        """Return the costs of a job's tasks.

        A function that never ran costs the mean of the job's other functions. If none ever ran, the result is `default`.
        """
        seconds = self.seconds(job)
        known = seconds[~np.isnan(seconds)]
        if not known.any():
            return default
        mean = float(known.mean())
        each = tuple(np.maximum(np.where(np.isnan(seconds), mean, seconds), mean * LEAST_SHARE).tolist())
        return Costs(function_seconds=each, default_seconds=mean, transfer_seconds=default.transfer_seconds * mean)

    def _normal_seconds(self, key: FunctionKey) -> float:
        means = self._means.get(key)
        if not means:
            return math.nan
        count = sum(mean.count for mean in means.values())
        return sum(mean.total * self.hosts.get(host, 1.0) for host, mean in means.items()) / count


def _add_logs(known: Mapping[str, Mean], sums: dict[str, list[float]]) -> None:
    """Add, for each host, the logarithm of its speed by one function times its number of tasks, and that number."""
    logs = {host: math.log(mean.value) for host, mean in known.items()}
    middle = sum(logs.values()) / len(logs)
    for host, log in logs.items():
        row = sums.setdefault(host, [0.0, 0.0])
        row[0] += (middle - log) * known[host].count
        row[1] += known[host].count


def _clear_differences(speeds: Mapping[str, float]) -> dict[str, float]:
    """Return the speeds, bounded by `FASTEST`; an empty dict if they differ by less than `ALIKE`."""
    if not speeds or max(speeds.values()) < ALIKE * min(speeds.values()):
        return {}
    return {host: min(FASTEST, max(1 / FASTEST, speed)) for host, speed in speeds.items()}
