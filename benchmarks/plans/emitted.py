"""The JSON of an emitted plan, and the rules that it has to keep. This module imports nothing of Headrace.

    {"instance": "splitters", "planner": "heft",
     "tasks": [[id, seconds, [bytes of each output], [[task, output], ...]], ...], "names": [...],
     "hosts": 8, "runners": 1, "bandwidth": 1e8, "latency": 0.0,
     "placements": [[task, host, runner, start, end], ...]}

Inputs and placements name a task by its id, a number or a text. Headrace numbers the tasks from 0; `names`, in the order of `tasks`, has
what the instance calls them, and may be absent. Hosts count from 0, and so do the runners of each and the outputs of a task. All hosts
have the same number of runners, the same speed, and the same bandwidth in bytes per second. Times are in seconds. A task that runs on
several hosts has several placements. Other fields are ignored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

SLACK = 1e-6
"""Relative error of the times of a plan that is put down to rounding."""


class InvalidPlan(ValueError):
    """A plan that cannot be read, or that cannot be executed. The message says what is wrong, and where."""


class EmittedTask(NamedTuple):
    """A task as emitted. name: for people. inputs: distinct pairs of a task's place in the plan and the place of an output in that task."""

    name: str
    seconds: float
    outputs: tuple[float, ...]
    inputs: tuple[tuple[int, int], ...]


class Row(NamedTuple):
    """One placement: a task, by its place in the plan, on a runner of a host, with the times that the planner predicts."""

    task: int
    host: int
    runner: int
    start: float
    end: float


@dataclass(frozen=True)
class EmittedPlan:
    """A plan as emitted. bandwidth: bytes per second of each host, up and down. latency: seconds before each transfer."""

    instance: str
    planner: str
    tasks: tuple[EmittedTask, ...]
    hosts: int
    runners: int
    bandwidth: float
    latency: float
    rows: tuple[Row, ...]

    @property
    def makespan(self) -> float:
        """Seconds that the planner predicts."""
        return max((row.end for row in self.rows), default=0.0)

    def queues(self) -> dict[tuple[int, int], list[int]]:
        """Return the rows of each runner (host, runner) in the order in which it executes them."""
        queues: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index in sorted(range(len(self.rows)), key=lambda index: (self.rows[index].start, self.rows[index].end, index)):
            queues[self.rows[index].host, self.rows[index].runner].append(index)
        return dict(queues)

    def lower_bound(self) -> float:
        """Return the seconds that no plan can beat: the critical path without transfers, or the work divided by all runners."""
        ends = [math.nan] * len(self.tasks)
        for index in topological(self.tasks):
            task = self.tasks[index]
            ends[index] = task.seconds + max((ends[source] for source, _ in task.inputs), default=0.0)
        work = sum(task.seconds for task in self.tasks)
        return max(max(ends, default=0.0), work / (self.hosts * self.runners))


# ---------------------------------------------------------------- reading


def parse(record: Any) -> EmittedPlan:
    """Return the plan of a JSON value. Raises InvalidPlan if a field is missing or has a wrong type or range."""
    try:
        number = _numbers([row[0] for row in record["tasks"]])
        names = record.get("names") or list(number)
        return EmittedPlan(
            instance=str(record["instance"]),
            planner=str(record.get("planner", "")),
            tasks=tuple(_task(number, str(name), *row[1:]) for name, row in zip(names, record["tasks"], strict=True)),
            hosts=_count("hosts", record["hosts"]),
            runners=_count("runners", record["runners"]),
            bandwidth=_positive("bandwidth", record["bandwidth"]),
            latency=_amount("latency", record["latency"]),
            rows=tuple(_row(number, *row) for row in record["placements"]),
        )
    except KeyError as error:
        raise InvalidPlan(f"field {error} is missing") from None
    except InvalidPlan:
        raise
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        raise InvalidPlan(f"a field has a wrong type or length: {error}") from None


def _numbers(ids: Sequence[Any]) -> dict[Any, int]:
    """Return the place of each task by its id."""
    number: dict[Any, int] = {}
    for id_ in ids:
        if isinstance(id_, bool) or not isinstance(id_, int | str) or id_ in number:
            raise InvalidPlan(f"task {len(number)} has the id {id_!r}: give each task a number or text of its own")
        number[id_] = len(number)
    return number


def _task(number: Mapping[Any, int], name: str, seconds: Any, outputs: Sequence[Any], inputs: Sequence[Any]) -> EmittedTask:
    where = f"task {name}"
    pairs = tuple(dict.fromkeys((_place(where, number, task), _index(where, output)) for task, output in inputs))
    return EmittedTask(name, _amount(f"{where}: seconds", seconds), tuple(_amount(f"{where}: output", size) for size in outputs), pairs)


def _row(number: Mapping[Any, int], task: Any, host: Any, runner: Any, start: Any, end: Any) -> Row:
    where = f"placement of task {task}"
    places = [_place(where, number, task), _index(where, host), _index(where, runner)]
    return Row(*places, _amount(f"{where}: start", start), _amount(f"{where}: end", end))


def _place(what: str, number: Mapping[Any, int], task: Any) -> int:
    if isinstance(task, bool) or not isinstance(task, int | str) or task not in number:
        raise InvalidPlan(f"{what}: there is no task {task!r}")
    return number[task]


def _amount(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise InvalidPlan(f"{what} is {value!r}, not a number of 0 or more")
    return float(value)


def _positive(what: str, value: Any) -> float:
    if not _amount(what, value):
        raise InvalidPlan(f"{what} is 0")
    return float(value)


def _index(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidPlan(f"{what} has {value!r} where an index belongs")
    return value


def _count(what: str, value: Any) -> int:
    if not _index(what, value):
        raise InvalidPlan(f"{what} is 0")
    return int(value)


# ---------------------------------------------------------------- rules


def validate(plan: EmittedPlan) -> None:
    """Check that indices exist, every task is placed, at most once on a host, and that the predicted times respect durations, dependencies
    and runners. Transfers are not checked here: execution finds out how long they take. Raises InvalidPlan."""
    _check_indices(plan)
    if len(list(topological(plan.tasks))) < len(plan.tasks):
        raise InvalidPlan("the tasks depend on one another in a circle")
    _check_placed(plan)
    _check_runners(plan)
    _check_dependencies(plan)


def topological(tasks: Sequence[EmittedTask]) -> list[int]:
    """Return the tasks in topological order, without those that depend on a circle."""
    children = defaultdict(list)
    missing = [len(task.inputs) for task in tasks]
    for index, task in enumerate(tasks):
        for source, _ in task.inputs:
            children[source].append(index)
    order = [index for index, count in enumerate(missing) if not count]
    for index in order:  # grows while it is read
        for child in children[index]:
            missing[child] -= 1
            if not missing[child]:
                order.append(child)
    return order


def _check_indices(plan: EmittedPlan) -> None:
    for task in plan.tasks:
        for source, output in task.inputs:
            if output >= len(plan.tasks[source].outputs):
                raise InvalidPlan(f"task {task.name}: there is no output {output} of task {plan.tasks[source].name}")
    for row in plan.rows:
        if row.host >= plan.hosts or row.runner >= plan.runners:
            raise InvalidPlan(f"task {plan.tasks[row.task].name}: there is no host {row.host} with a runner {row.runner}")


def _check_placed(plan: EmittedPlan) -> None:
    places = [(row.task, row.host) for row in plan.rows]
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise InvalidPlan(f"task {plan.tasks[twice[0]].name} is placed twice on host {twice[1]}")
    placed = {row.task for row in plan.rows}
    for index, task in enumerate(plan.tasks):
        if index not in placed:
            raise InvalidPlan(f"task {task.name} is placed nowhere")


def _check_runners(plan: EmittedPlan) -> None:
    for row in plan.rows:
        seconds = plan.tasks[row.task].seconds
        if abs(row.end - row.start - seconds) > _slack(plan):
            raise InvalidPlan(f"task {plan.tasks[row.task].name} is placed for {row.end - row.start:g} s and takes {seconds:g} s")
    for (host, runner), queue in plan.queues().items():
        for before, after in pairwise(queue):
            if plan.rows[after].start < plan.rows[before].end - _slack(plan):
                ids = [plan.tasks[plan.rows[index].task].name for index in (before, after)]
                raise InvalidPlan(f"tasks {ids[0]} and {ids[1]} run at the same time on host {host}, runner {runner}")


def _check_dependencies(plan: EmittedPlan) -> None:
    first_end: Mapping[int, float] = _first_ends(plan)
    for row in plan.rows:
        for source, _ in plan.tasks[row.task].inputs:
            if row.start < first_end[source] - _slack(plan):
                raise InvalidPlan(f"task {plan.tasks[row.task].name} starts before its input, task {plan.tasks[source].name}, has ended")


def _first_ends(plan: EmittedPlan) -> dict[int, float]:
    ends: dict[int, float] = {}
    for row in plan.rows:
        ends[row.task] = min(row.end, ends.get(row.task, math.inf))
    return ends


def _slack(plan: EmittedPlan) -> float:
    return SLACK * max(1.0, plan.makespan)
