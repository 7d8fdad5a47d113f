"""The graphs that are timed, each defined once, as data: a list of calls. Every peer runs the same list.

A call's arguments are values or `Ref`s to earlier calls, at the top level only, so that each engine's own way of passing inputs will do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Ref(NamedTuple):
    """The value of an earlier call, by its index in the list."""

    call: int


class Call(NamedTuple):
    """One task: a function of this module and its positional arguments."""

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def inputs(self) -> list[int]:
        """The indices of the calls whose values it takes."""
        return [arg.call for arg in self.args if type(arg) is Ref]


@dataclass
class TaskList:
    """A graph as a list of calls in topological order, and which of their values are asked for."""

    calls: list[Call] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def add(self, function: Callable[..., Any], *args: Any) -> Ref:
        """Append a call; returns the reference to its value."""
        self.calls.append(Call(function, args))
        return Ref(len(self.calls) - 1)

    def ask(self, refs: list[Ref]) -> TaskList:
        """Ask for these values, and no others."""
        self.outputs = [ref.call for ref in refs]
        return self

    @cached_property
    def spent(self) -> list[list[int]]:
        """Per call, the earlier calls whose values nothing needs once it has run. Look at it when the list is complete."""
        last_use = {index: call for call, made in enumerate(self.calls) for index in made.inputs()}
        spent: list[list[int]] = [[] for _ in self.calls]
        for index in last_use.keys() - set(self.outputs):
            spent[last_use[index]].append(index)
        return spent


# ---------------------------------------------------------------- what the tasks do


def noop(value: Any) -> Any:
    """The value itself."""
    return value


def one(_: Any) -> int:
    """1, whatever is given: a leaf whose sum counts the leaves."""
    return 1


def inc(value: int) -> int:
    """One more."""
    return value + 1


def add(left: int, right: int) -> int:
    """The sum of two."""
    return left + right


def total(*values: int) -> int:
    """The sum of any number."""
    return sum(values)


def normal(seed: int, size: int) -> Array:
    """A field of `size` float64 values, drawn from the standard normal distribution."""
    return np.random.default_rng(seed).standard_normal(size)


def mean(*fields: Array) -> Array:
    """Pointwise mean; adds one field at a time, so that it needs no more memory than its result."""
    result = fields[0].copy()
    for other in fields[1:]:
        result += other
    result /= len(fields)
    return result


def deviation(*fields: Array) -> Array:
    """Pointwise standard deviation of the population, in two passes."""
    centre = mean(*fields)
    result = np.zeros_like(centre)
    departure = np.empty_like(centre)
    for values in fields:
        np.subtract(values, centre, out=departure)
        departure *= departure
        result += departure
    result /= len(fields)
    return np.asarray(np.sqrt(result, out=result))


def fraction_above(threshold: float, *fields: Array) -> Array:
    """At each point the fraction of the fields, 0 to 1, that exceed the threshold."""
    result = np.zeros_like(fields[0])
    for values in fields:
        result += values > threshold
    result /= len(fields)
    return result


def spatial_mean(values: Array) -> float:
    """The mean of one field."""
    return float(values.mean())


def count_up(size: int) -> Array:
    """0, 1, 2, ... as float64."""
    return np.arange(size, dtype=np.float64)


def sample_sum(values: Array) -> float:
    """The sum of every 4096th value."""
    return float(values[::4096].sum())


def field_sum(*fields: Array) -> Array:
    """Pointwise sum; adds one field at a time, so that it needs no more memory than its result."""
    result = fields[0].copy()
    for other in fields[1:]:
        result += other
    return result


def divided(values: Array, count: int) -> Array:
    """The field divided by a number."""
    return values / count


def anomaly_size(field: Array, climate: Array) -> float:
    """The root of the mean square of a field's anomaly, its difference from the climate."""
    anomaly = field - climate
    anomaly *= anomaly
    return float(np.sqrt(anomaly.mean()))


# ---------------------------------------------------------------- the graphs

THRESHOLDS = (0.0, 1.0, 2.0)


def flat(n: int) -> TaskList:
    """n tasks without inputs; every value is returned."""
    graph = TaskList()
    return graph.ask([graph.add(noop, i) for i in range(n)])


def tree(n: int) -> TaskList:
    """n leaves, added pairwise to one value; 2 n - 1 tasks."""
    graph = TaskList()
    level = [graph.add(one, i) for i in range(n)]
    while len(level) > 1:
        pairs = [graph.add(add, left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs) :]
    return graph.ask(level)


def chains(n: int, count: int = 50) -> TaskList:
    """`count` chains of n increments each; the last values are returned."""
    graph = TaskList()
    ends = [graph.add(inc, 0) for _ in range(count)]
    for _ in range(n - 1):
        ends = [graph.add(inc, end) for end in ends]
    return graph.ask(ends)


def chain(n: int) -> TaskList:
    """One chain of n increments."""
    return chains(n, count=1)


def layers(n: int, depth: int = 20, inputs: int = 3) -> TaskList:
    """`depth` layers of n tasks, each the sum of 3 tasks of the layer before, drawn at random (the same ones each time)."""
    graph = TaskList()
    draw = random.Random(1)
    layer = [graph.add(one, i) for i in range(n)]
    for _ in range(depth - 1):
        layer = [graph.add(total, *draw.sample(layer, inputs)) for _ in range(n)]
    return graph.ask(layer)


def ensemble(n: int, sources: int = 50, size: int = 1_000_000) -> TaskList:
    """n steps of 50 fields of 8 MB; per step five statistics over its fields, of each of which the mean is returned."""
    graph = TaskList()
    answers = []
    for step in range(n):
        fields = [graph.add(normal, step * sources + source, size) for source in range(sources)]
        statistics = [graph.add(mean, *fields), graph.add(deviation, *fields)]
        statistics += [graph.add(fraction_above, threshold, *fields) for threshold in THRESHOLDS]
        answers += [graph.add(spatial_mean, statistic) for statistic in statistics]
    return graph.ask(answers)


def fanout(n: int, size: int = 67_108_864) -> TaskList:
    """One array of 512 MB that n tasks read."""
    graph = TaskList()
    array = graph.add(count_up, size)
    return graph.ask([graph.add(sample_sum, array) for _ in range(n)])


CLIMATE_GROUP = 20  # fields that one task of `climatology` sums: few enough that their 80 MB fit beside everything else


def climatology(n: int, size: int = 500_000) -> TaskList:
    """Anomalies of n fields of 4 MB against their mean, of each of which the size is returned. Summed in groups, and groups of groups;
    every field is needed twice, and the second time not before all have been there once."""
    graph = TaskList()
    fields = [graph.add(normal, seed, size) for seed in range(n)]
    sums = fields
    while len(sums) > 1:
        sums = [graph.add(field_sum, *sums[start : start + CLIMATE_GROUP]) for start in range(0, len(sums), CLIMATE_GROUP)]
    climate = graph.add(divided, sums[0], n)
    return graph.ask([graph.add(anomaly_size, field, climate) for field in fields])


class Kind(NamedTuple):
    """A graph that can be asked for by name.

    make: from n, and from the values per array where there are arrays. counts: what n counts. sizes: the n's that it is measured with.
    small: the arguments with which it only shows that values are right. limited: under a memory limit of a quarter of its arrays, run
    once and without a warm-up, for it moves much more than fits.
    """

    make: Callable[..., TaskList]
    counts: str
    sizes: tuple[int, ...]
    small: tuple[int, ...]
    limited: bool = False


GRAPHS: Mapping[str, Kind] = {
    "flat": Kind(flat, "tasks", (1_000, 10_000, 100_000), (40,)),
    "tree": Kind(tree, "leaves", (8_192,), (13,)),
    "chain": Kind(chain, "links", (2_000,), (30,)),
    "chains": Kind(chains, "links of each of 50 chains", (200,), (4,)),
    "layers": Kind(layers, "tasks of each of 20 layers", (500,), (10,)),
    "ensemble": Kind(ensemble, "steps of 50 fields of 8 MB", (8,), (1, 50, 1000)),
    "fanout": Kind(fanout, "readers of 512 MB", (32,), (6, 100_000)),
    "climatology": Kind(climatology, "fields of 4 MB", (2_000,), (50, 1000), limited=True),
}
CLIMATE_FIELD = 4_000_000  # bytes of a field of `climatology`
WARM_UP = 10_000  # tasks of a `flat` that warms up at most: more of the same warms nothing more
LATENCY_TRIPS = 300  # single-task round trips, one after another


class Case(NamedTuple):
    """One graph at one size: `arguments` are those of its maker, the first of which is n."""

    graph: str
    arguments: tuple[int, ...]

    @property
    def n(self) -> int:
        """What the graph's kind counts."""
        return self.arguments[0]

    @property
    def label(self) -> str:
        """What tables call it: "flat 10,000", and "tree" where there is one size only."""
        several = self.graph in GRAPHS and len(GRAPHS[self.graph].sizes) > 1
        return f"{self.graph} {self.n:,}" if several else self.graph

    @property
    def limit(self) -> int:
        """Bytes of memory that everything may take together; 0 for no limit."""
        limited = self.graph in GRAPHS and GRAPHS[self.graph].limited and len(self.arguments) == 1
        return self.n * CLIMATE_FIELD // 4 if limited else 0

    def build(self) -> TaskList:
        """The calls."""
        return GRAPHS[self.graph].make(*self.arguments)

    def warm_up(self) -> Case:
        """What to run before anything counts."""
        return Case(self.graph, (min(self.n, WARM_UP), *self.arguments[1:])) if self.graph == "flat" else self


def cases(graph: str, n: int | None = None, small: bool = False) -> list[Case]:
    """The sizes at which a graph is measured: the given n, or all that it is known for, or the small one."""
    if graph == "latency":
        return [Case(graph, (n or (10 if small else LATENCY_TRIPS),))]
    kind = GRAPHS[graph]
    if small:
        return [Case(graph, (n or kind.small[0], *kind.small[1:]))]
    return [Case(graph, (size,)) for size in ((n,) if n else kind.sizes)]
