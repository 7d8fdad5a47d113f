"""What a runner holds of one job: its functions and arguments, decoded at first use, and the values inside its chains."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headrace.graph.functions import load_function
from headrace.graph.naming import dataset_name, input_names, task_name
from headrace.graph.templates import Template, load_block
from headrace.worker.protocol import SinksOfJob
from headrace_schemas import GraphSpec

if TYPE_CHECKING:
    from headrace.worker.runner.sinking import SinkWriter


class Segment:
    """Tasks to run back to back, and the inputs that come with them."""

    __slots__ = ("attempts", "chain", "ended", "id", "inputs", "job", "leaves", "locations", "puts", "tasks")

    def __init__(self, job: RunnerJob, id: int, chain: int) -> None:
        self.job = job
        self.id = id
        self.chain = chain
        self.tasks: list[int] = []
        self.leaves: list[int] = []
        self.attempts: list[int] = []
        self.inputs: list[int] = []
        self.locations: list[Any] = []
        self.puts = 0
        """Results that wait for room."""
        self.ended = False


class RunnerJob:
    """One job at one runner."""

    def __init__(self, number: int, spec: GraphSpec, sinks: SinksOfJob | None = None) -> None:
        self.number = number
        self.spec = spec
        self.closed = False
        self.chain_values: dict[int, Any] = {}
        """Datasets that stay in their chain, until their last use."""
        self.dead_chains: set[int] = set()
        self.expected: list[float | None] = [None] * len(spec.functions)
        """Seconds a task of each function takes, smoothed; None before the first."""
        self._functions: list[Callable[..., Any] | None] = [None] * len(spec.functions)
        self._blocks: dict[int, list[Template]] = {}
        self._uses_left: dict[int, int] = {}
        self._asked: frozenset[int] | None = None
        self.sinks = _writer(sinks, spec) if sinks is not None else None
        self._lay_out(spec)

    def _lay_out(self, spec: GraphSpec) -> None:
        self._input_start = _starts(spec.n_inputs, spec.n_tasks)
        self._output_start = _starts(spec.n_outputs, spec.n_tasks) if spec.n_outputs else None
        self._uses: list[int] = [0] * (self._output_start[-1] if self._output_start else spec.n_tasks)
        for dataset in spec.inputs:
            self._uses[dataset] += 1

    def function(self, task: int) -> Callable[..., Any]:
        """What the task calls. Raises FunctionNotFound, or whatever unpickling raises."""
        index = self.spec.function[task]
        found = self._functions[index]
        if found is None:
            found = self._functions[index] = load_function(self.spec.functions[index])
        return found

    def template(self, task: int) -> Template:
        """The task's arguments with holes for its inputs."""
        number, place = divmod(task, self.spec.block_size)
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = load_block(self.spec.blocks[number])
        return block[place]

    def inputs(self, task: int) -> list[int]:
        """The datasets that the task takes."""
        if self._input_start is None:
            return []
        return self.spec.inputs[self._input_start[task] : self._input_start[task + 1]]

    def outputs(self, task: int) -> range:
        """The datasets that the task makes."""
        if self._output_start is None:
            return range(task, task + 1)
        return range(self._output_start[task], self._output_start[task + 1])

    def is_asked_for(self, dataset: int) -> bool:
        """Whether it is an output of the job."""
        if self._asked is None:
            self._asked = frozenset(self.spec.outputs)
        return dataset in self._asked

    def is_taken(self, dataset: int) -> bool:
        """Whether tasks take it."""
        return self._uses[dataset] > 0

    def is_generator(self, task: int) -> bool:
        """Whether the task yields its datasets one by one."""
        return self.spec.functions[self.spec.function[task]].generator

    def keep(self, dataset: int, value: Any) -> None:
        """Hold a value for a later task of its chain."""
        self.chain_values[dataset] = value
        if self._uses[dataset] > 1:
            self._uses_left[dataset] = self._uses[dataset]

    def take(self, dataset: int) -> Any:
        """A value held for its chain; forgotten at its last use. Raises KeyError if the chain was abandoned."""
        left = self._uses_left.get(dataset, 1) - 1
        if left:
            self._uses_left[dataset] = left
            return self.chain_values[dataset]
        self._uses_left.pop(dataset, None)
        return self.chain_values.pop(dataset)

    def took(self, task: int, seconds: float) -> None:
        """Smooth the expected duration of the task's function with one more of its durations."""
        index = self.spec.function[task]
        before = self.expected[index]
        self.expected[index] = seconds if before is None else before + 0.2 * (seconds - before)

    def names(self, task: int) -> tuple[str, list[str]]:
        """The task's name and those of its inputs, for people."""
        return task_name(self.spec, task), input_names(self.spec, task)

    def dataset_name(self, dataset: int) -> str:
        """The dataset's name, for people."""
        return dataset_name(self.spec, dataset)


def _writer(sinks: SinksOfJob, spec: GraphSpec) -> SinkWriter:
    from headrace.worker.runner.sinking import SinkWriter  # with what it needs, which most jobs do not

    return SinkWriter(sinks, spec)


def _starts(counts: list[int], n: int) -> list[int] | None:
    """Running sums of a column of counts; None for an empty column."""
    if not counts:
        return None
    starts, total = [0] * (n + 1), 0
    for index, count in enumerate(counts):
        total += count
        starts[index + 1] = total
    return starts
