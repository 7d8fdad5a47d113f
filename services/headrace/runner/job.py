"""One job at a runner: its functions and arguments, decoded at first use, and the values inside its chains."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from headrace.graph.naming import INPUT_NAMES, output_name, task_name
from headrace.pickling.sources import register
from headrace.runner import protocol
from headrace.runner.arguments import Arguments
from headrace.runner.failures import loading_failure
from headrace.runner.functions import SMOOTHING, JobFunction
from headrace.values import PLAIN_TYPES, pass_on, read, settle
from headrace_schemas import GraphSpec, SinkSpec

if TYPE_CHECKING:
    from headrace.runner.sinking import SinkWriter


class RunnerJob:
    """One job at one runner. `closed` is set once the agent has closed it."""

    def __init__(self, number: int, spec: GraphSpec, sinks: protocol.SinksOfJob | None = None, id: str = "") -> None:
        self.number = number
        self.id = id
        self.spec = spec
        self.closed = False
        self.chain_values: dict[int, Any] = {}
        """Datasets that stay in their chain, as `values.pass_on` returned them, until their last use."""
        self.unsettled: int | None = None
        """The dataset among them whose producer may still refer to its arrays."""
        self.dead_chains: set[int] = set()
        self.functions = [JobFunction(index, function) for index, function in enumerate(spec.functions)]
        self._measured: list[JobFunction] = []
        self._function = spec.function
        self.arguments = Arguments(spec)
        self._uses_left: dict[int, int] = {}
        self._asked: frozenset[int] | None = None
        self.sinks = _writer(sinks, spec) if sinks is not None else None
        if spec.sources:
            self.show_sources()
        self._lay_out(spec)

    def _lay_out(self, spec: GraphSpec) -> None:
        self._input_start = _starts(spec.n_inputs)
        self._output_start = _starts(spec.n_outputs)
        self.sends_plainly = self._output_start is None and self.sinks is None
        """Whether every task makes one dataset, which has the task's number, and none is written to a sink."""
        self._uses: list[int] = [0] * (self._output_start[-1] if self._output_start else spec.n_tasks)
        for dataset in spec.inputs:
            self._uses[dataset] += 1

    def show_sources(self) -> None:
        """Make tracebacks show this job's version of its source files. Another job may have another version of them."""
        register(self.spec.sources)

    def function(self, task: int) -> JobFunction:
        """Return the function that the task calls."""
        return self.functions[self._function[task]]

    def inputs(self, task: int) -> list[int]:
        """Return the datasets that the task takes."""
        if self._input_start is None:
            return []
        return self.spec.inputs[self._input_start[task] : self._input_start[task + 1]]

    def outputs(self, task: int) -> range:
        """Return the datasets that the task makes."""
        if self._output_start is None:
            return range(task, task + 1)
        return range(self._output_start[task], self._output_start[task + 1])

    def is_asked_for(self, dataset: int) -> bool:
        """Return whether a dataset is an output of the job."""
        if self._asked is None:
            self._asked = frozenset(self.spec.outputs)
        return dataset in self._asked

    def sink_of(self, dataset: int) -> SinkSpec | None:
        """Return the sink of a dataset; None if it has none."""
        return self.sinks.sink_of(dataset) if self.sinks is not None and self.is_asked_for(dataset) else None

    def is_taken(self, dataset: int) -> bool:
        """Return whether tasks take a dataset."""
        return self._uses[dataset] > 0

    def keep(self, dataset: int, value: Any) -> None:
        """Hold a value for later tasks of its chain. The caller then drops the value and calls `settle`. Raises what `pass_on` raises."""
        if type(value) not in PLAIN_TYPES:
            value = pass_on(value)
            self.unsettled = dataset
        self.keep_plain(dataset, value)

    def keep_plain(self, dataset: int, value: Any) -> None:
        """Hold a value that nothing can change for later tasks of its chain."""
        self.chain_values[dataset] = value
        if self._uses[dataset] > 1:
            self._uses_left[dataset] = self._uses[dataset]

    def settle(self) -> None:
        """Copy what is needed of the value that was kept last, so that its producer cannot change it."""
        if self.unsettled is not None:
            settle(self.chain_values, self.unsettled)
            self.unsettled = None

    def take(self, dataset: int) -> Any:
        """Return a value that is held for its chain, safe to change. Its last use drops it. Raises TaskFailure if unpickling fails."""
        kept = self._use(dataset) if dataset in self._uses_left else self.chain_values.pop(dataset)
        if type(kept) in PLAIN_TYPES:
            return kept
        try:
            return read(kept)
        except BaseException as error:
            raise loading_failure(error, f"while the input {self.dataset_name(dataset)!r} was unpickled in the runner") from None

    def _use(self, dataset: int) -> Any:
        self._uses_left[dataset] -= 1
        if self._uses_left[dataset]:
            return self.chain_values[dataset]
        del self._uses_left[dataset]
        return self.chain_values.pop(dataset)

    def took(self, function: JobFunction, seconds: float) -> None:
        """Count a task of a function that took `seconds`."""
        before = function.expected
        function.expected = seconds if before is None else before + SMOOTHING * (seconds - before)
        if not function.count:
            self._measured.append(function)
        function.count += 1
        function.seconds += seconds
        if seconds > function.longest:
            function.longest = seconds

    def report_profile(self, results: protocol.Results) -> None:
        """Add to a frame what was measured since the last call."""
        for function in self._measured:
            results.functions.append(function.index)
            results.function_counts.append(function.count)
            results.function_seconds.append(function.seconds)
            results.function_longest.append(function.longest)
            function.count, function.seconds, function.longest = 0, 0.0, 0.0
        self._measured.clear()

    def input_names(self, task: int) -> list[str]:
        """Return the names of the first datasets that the task takes, for people."""
        return [self.dataset_name(dataset) for dataset in self.inputs(task)[:INPUT_NAMES]]

    def dataset_name(self, dataset: int) -> str:
        """Return the dataset's name, for people."""
        if self._output_start is None:
            return task_name(self.spec, dataset)
        task = bisect_right(self._output_start, dataset) - 1
        return output_name(self.spec, task, dataset - self._output_start[task])


def _writer(sinks: protocol.SinksOfJob, spec: GraphSpec) -> SinkWriter:
    from headrace.runner.sinking import SinkWriter  # imports libraries that most jobs do not need

    return SinkWriter(sinks, spec)


def _starts(counts: list[int]) -> list[int] | None:
    """Return the running sums of a column of counts; None for an empty column."""
    return [0, *accumulate(counts)] if counts else None
