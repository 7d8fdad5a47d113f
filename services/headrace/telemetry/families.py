"""Metrics as plain values with a name, by the conventions of https://prometheus.io/docs/practices/naming/.

They use base units (seconds, bytes), `_total` for counters, and labels with few values: a function's name or a host's, never a job or a
task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

LEADING = ("headrace_leading", "Whether this process leads its service. Exactly one of the running processes should.")
"""Name and help of the metric of services that elect a leader."""
OTHER = "other"
"""Label that stands for all further values once a metric has the most labels that it may have."""


class Sample(NamedTuple):
    """One value. number: in a summary, the number of timed events; the value is the sum of their times."""

    labels: dict[str, str]
    value: float
    number: int = 0


class Family(NamedTuple):
    """A metric with all its samples."""

    kind: Literal["gauge", "counter", "summary"]
    name: str
    help: str
    samples: list[Sample]


Metrics = Callable[[], Iterable[Family]]
"""A function that returns the current metrics. It is called at every scrape, and changes nothing."""


class Timing:
    """The number of timed events, and their seconds in total and at most."""

    __slots__ = ("count", "longest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.longest = 0.0

    def add(self, seconds: float, count: int = 1, longest: float | None = None) -> None:
        """Add `count` events that took `seconds` together. longest: seconds of the longest one, if they were several."""
        self.count += count
        self.total += seconds
        most = seconds if longest is None else longest
        if most > self.longest:
            self.longest = most


class Timings(dict[str, Timing]):
    """Timings by name, for at most `most` names. All further names share one timing."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def of(self, name: str) -> Timing:
        """Return the timing of this name."""
        found = self.get(name)
        if found is None:
            found = self.setdefault(name if len(self) < self._most else OTHER, Timing())
        return found


def gauge(name: str, help: str, value: float | Mapping[str, float], label: str = "") -> Family:
    """Create a metric that goes up and down. A mapping has a value for each value of the label."""
    return Family("gauge", name, help, _samples(value, label))


def counter(name: str, help: str, value: float | Mapping[str, float], label: str = "") -> Family:
    """Create a metric that only grows. It starts again from 0 when its process restarts."""
    return Family("counter", name, help, _samples(value, label))


def summary(name: str, help: str, value: Timing | Mapping[str, Timing], label: str = "") -> Family:
    """Create a metric with the count and the sum of timings."""
    if isinstance(value, Timing):
        return Family("summary", name, help, [Sample({}, value.total, value.count)])
    return Family("summary", name, help, [Sample({label: key}, timing.total, timing.count) for key, timing in value.items()])


def labelled(families: Iterable[Family], **labels: str) -> Iterator[Family]:
    """Add labels to all samples."""
    for family in families:
        yield family._replace(samples=[sample._replace(labels={**labels, **sample.labels}) for sample in family.samples])


def no_metrics() -> Iterable[Family]:
    """Return no metrics."""
    return ()


def _samples(value: float | Mapping[str, float], label: str) -> list[Sample]:
    if isinstance(value, Mapping):
        return [Sample({label: key}, number) for key, number in value.items()]
    return [Sample({}, value)]
