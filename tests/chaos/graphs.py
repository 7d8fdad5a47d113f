"""Graphs with known answers, made from a seed: tasks of 1 ms to 2 s, arrays of 1 KB to 64 MB, generators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeVar

from tests.chaos.tasks import answer, steps, work

if TYPE_CHECKING:
    import headrace as hr

T = TypeVar("T")

SECONDS = {0.001: 8, 0.01: 6, 0.05: 6, 0.2: 5, 0.5: 4, 1.0: 2, 2.0: 1}
"""Durations of tasks, and how often each is drawn."""
BYTES = {0: 6, 1_000: 8, 20_000: 6, 300_000: 5, 2_000_000: 3, 16_000_000: 1}
"""Sizes of values, and how often each is drawn."""
HEAVY = {0: 3, 20_000: 3, 2_000_000: 6, 8_000_000: 5}
"""The same where memory is to get short."""
LARGE = 64_000_000
"""The size of one value in some graphs."""
LARGE_SHARE = 0.1
"""The share of graphs that have one."""
MOST_INPUTS = 4
MOST_STEPS = 6
GENERATOR_SHARE = 0.1
MAX_BYTES = 160_000_000
"""The most bytes of all values of a graph together; more are drawn as small ones."""


@dataclass(frozen=True)
class Task:
    """One task. inputs: pairs of a task's index and the index of its output. sizes: bytes of each output; several make a generator."""

    key: int
    seconds: float
    sizes: tuple[int, ...]
    inputs: tuple[tuple[int, int], ...] = ()

    @property
    def duration(self) -> float:
        """Seconds that it takes in all."""
        return self.seconds * len(self.sizes)


@dataclass(frozen=True)
class GraphPlan:
    """A graph whose values are known."""

    name: str
    tasks: tuple[Task, ...]

    def answers(self) -> dict[str, tuple[int, int]]:
        """For every output of the graph, by name, the number that it holds and its bytes."""
        numbers = self._numbers()
        used = {place for task in self.tasks for place in task.inputs}
        return {
            self.output_name(index, output): (numbers[index, output], size)
            for index, task in enumerate(self.tasks)
            for output, size in enumerate(task.sizes)
            if (index, output) not in used
        }

    def _numbers(self) -> dict[tuple[int, int], int]:
        numbers: dict[tuple[int, int], int] = {}
        for index, task in enumerate(self.tasks):
            values = [numbers[place] for place in task.inputs]
            numbers.update({(index, output): answer(task.key, output, values) for output in range(len(task.sizes))})
        return numbers

    def output_name(self, index: int, output: int) -> str:
        """The name of a dataset, as Headrace gives it."""
        return f"t{index}" if len(self.tasks[index].sizes) == 1 else f"t{index}[{output}]"

    def build(self) -> hr.Graph:
        """The graph to submit."""
        import headrace as hr

        graph, nodes = hr.Graph(self.name), []
        for index, task in enumerate(self.tasks):
            read = [self.tasks[source].sizes[output] for source, output in task.inputs]
            inputs = [nodes[source][output] for source, output in task.inputs]
            if len(task.sizes) == 1:
                nodes.append([graph.add(work, task.key, task.seconds, task.sizes[0], read, *inputs, name=f"t{index}")])
            else:
                node = graph.add(steps, task.key, task.seconds, task.sizes, read, *inputs, name=f"t{index}", outputs=len(task.sizes))
                nodes.append([node[output] for output in range(len(task.sizes))])
        return graph

    @property
    def seconds(self) -> float:
        """The work in it: seconds of one runner."""
        return sum(task.duration for task in self.tasks)


def draw_graph(random: Random, name: str, seconds: float, sizes: Mapping[int, int] = BYTES) -> GraphPlan:
    """A graph with about so many seconds of work for one runner."""
    tasks: list[Task] = []
    places: list[tuple[int, int]] = []
    left, room = seconds, MAX_BYTES
    while left > 0:
        task = _draw_task(random, places, left, room, sizes)
        places += [(len(tasks), output) for output in range(len(task.sizes))]
        tasks.append(task)
        left -= max(task.duration, 0.01)
        room -= sum(task.sizes)
    if random.random() < LARGE_SHARE and sizes is BYTES:
        first = tasks[0]
        tasks[0] = Task(first.key, first.seconds, (LARGE, *first.sizes[1:]), first.inputs)
    return GraphPlan(name, tuple(tasks))


def _draw_task(random: Random, places: list[tuple[int, int]], left: float, room: int, weights: Mapping[int, int]) -> Task:
    seconds = min(_draw(random, SECONDS), max(left, 0.001))
    inputs = random.sample(places, min(len(places), random.randint(0, MOST_INPUTS)))
    outputs = random.randint(2, MOST_STEPS) if random.random() < GENERATOR_SHARE else 1
    sizes = tuple(size if size <= room // outputs else 1_000 for size in (_draw(random, weights) for _ in range(outputs)))
    return Task(random.randrange(1 << 30), seconds / outputs, sizes, tuple(inputs))


def _draw(random: Random, weights: Mapping[T, int]) -> T:
    (found,) = random.choices(list(weights), list(weights.values()))
    return found
