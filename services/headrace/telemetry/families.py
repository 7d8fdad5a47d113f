"""Metrics as services tell of them: plain values with a name, by the conventions of https://prometheus.io/docs/practices/naming/.

Base units (seconds, bytes), `_total` for what only grows, and labels of which there are few values: a function's name or a host's, never a
job or a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

LEADING = ("headrace_leading", "Whether this process leads its service: of those that run, exactly one is to.")
"""Name and help of what services with a leader tell."""
OTHER = "other"
"""Label of what comes after the most labels that there may be."""


class Sample(NamedTuple):
    """One value. number: of what was timed, in a summary, whose value is the sum."""

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
"""Says how things stand. It is asked at every scrape, and changes nothing."""


class Timing:
    """How often something was done, and how many seconds it took in all and at most."""

    __slots__ = ("count", "longest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.longest = 0.0

    def add(self, seconds: float, count: int = 1, longest: float | None = None) -> None:
        """So many more, in `seconds` together; longest: of one of them, if that is not all."""
        self.count += count
        self.total += seconds
        most = seconds if longest is None else longest
        if most > self.longest:
            self.longest = most


class Timings(dict[str, Timing]):
    """Timings by name, of at most so many names: all others are one."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def of(self, name: str) -> Timing:
        """The one to add to under this name."""
        found = self.get(name)
        if found is None:
            found = self.setdefault(name if len(self) < self._most else OTHER, Timing())
        return found


def gauge(name: str, help: str, value: float | Mapping[str, float], label: str = "") -> Family:
    """What goes up and down; a value for each of a label's, where it has one."""
    return Family("gauge", name, help, _samples(value, label))


def counter(name: str, help: str, value: float | Mapping[str, float], label: str = "") -> Family:
    """What only grows; from 0 again when its process starts anew."""
    return Family("counter", name, help, _samples(value, label))


def summary(name: str, help: str, value: Timing | Mapping[str, Timing], label: str = "") -> Family:
    """Count and sum of what was timed."""
    if isinstance(value, Timing):
        return Family("summary", name, help, [Sample({}, value.total, value.count)])
    return Family("summary", name, help, [Sample({label: key}, timing.total, timing.count) for key, timing in value.items()])


def labelled(families: Iterable[Family], **labels: str) -> Iterator[Family]:
    """The same with more labels on all of it."""
    for family in families:
        yield family._replace(samples=[sample._replace(labels={**labels, **sample.labels}) for sample in family.samples])


def no_metrics() -> Iterable[Family]:
    """Of what has none of its own."""
    return ()


def _samples(value: float | Mapping[str, float], label: str) -> list[Sample]:
    if isinstance(value, Mapping):
        return [Sample({label: key}, number) for key, number in value.items()]
    return [Sample({}, value)]
