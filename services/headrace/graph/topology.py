"""The shape of a frozen graph as numpy columns: what controller, scheduler, hosts and ledger look things up in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace_schemas.graph import GraphSpec

Ids = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Columns(NamedTuple):
    """The columns of integers of a submitted graph as arrays, as they are: n_outputs and n_inputs may be empty. To make an array of a list
    takes longer than most of what is done with it then, so it is done once."""

    function: Offsets
    n_outputs: Offsets
    n_inputs: Offsets
    inputs: Offsets
    outputs: Offsets

    @classmethod
    def of(cls, spec: GraphSpec) -> Columns:
        """The columns of a graph whose entries are integers of 64 bits."""
        return cls(
            *[np.array(column, dtype=np.int64) for column in (spec.function, spec.n_outputs, spec.n_inputs, spec.inputs, spec.outputs)]
        )


@dataclass(frozen=True, eq=False)
class Topology:
    """Tasks, datasets and the edges between them. Compressed rows (CSR): row r of a column c is c[start[r] : start[r + 1]].

    n_tasks, n_datasets: how many there are; ids are 0 to n - 1.
    function (n_tasks): index of the task's function.
    first_output (n_tasks + 1): task t makes the datasets first_output[t] .. first_output[t + 1] - 1.
    input_start (n_tasks + 1), inputs: the distinct datasets that each task takes, in the order in which its arguments are bound.
    producer (n_datasets): the task that makes the dataset.
    is_output (n_datasets): whether the dataset was asked for.
    is_generator (n_tasks): whether the task yields its datasets one by one.
    """

    n_tasks: int
    n_datasets: int
    function: Ids
    first_output: Offsets
    input_start: Offsets
    inputs: Ids
    producer: Ids
    is_output: Flags
    is_generator: Flags

    @classmethod
    def from_spec(cls, spec: GraphSpec, columns: Columns | None = None) -> Topology:
        """The topology of a graph that was validated, or that `freeze` made; `validation.validate` does both.

        columns: those of the graph, if somebody made arrays of them already.
        """
        columns = columns if columns is not None else Columns.of(spec)
        n = spec.n_tasks
        first_output, producer = _makers(n, columns.n_outputs)
        n_datasets = len(producer)
        function = columns.function.astype(np.int32)
        yields = [kind.generator for kind in spec.functions]
        is_output = np.zeros(n_datasets, dtype=np.bool_)
        is_output[columns.outputs] = True
        return cls(
            n_tasks=n,
            n_datasets=n_datasets,
            function=function,
            first_output=first_output,
            input_start=offsets(columns.n_inputs) if len(columns.n_inputs) else np.zeros(n + 1, dtype=np.int64),
            inputs=columns.inputs.astype(np.int32),
            producer=producer,
            is_output=is_output,
            is_generator=np.array(yields, dtype=np.bool_)[function] if any(yields) else np.zeros(n, dtype=np.bool_),
        )

    @classmethod
    def of_one_task(cls) -> Topology:
        """That of every graph of one task that takes nothing, yields nothing and makes the one dataset that is asked for."""
        return _ONE_TASK

    @cached_property
    def n_asked(self) -> int:
        """How many datasets were asked for."""
        return int(np.count_nonzero(self.is_output))

    @cached_property
    def n_outputs(self) -> Offsets:
        """Per task: how many datasets it makes."""
        return np.diff(self.first_output)

    @cached_property
    def n_inputs(self) -> Offsets:
        """Per task: how many distinct datasets it takes."""
        return np.diff(self.input_start)

    @cached_property
    def n_consumers(self) -> Offsets:
        """Per dataset: how many tasks take it."""
        return np.bincount(self.inputs, minlength=self.n_datasets)

    @cached_property
    def consumer_start(self) -> Offsets:
        """(n_datasets + 1): where each dataset's row of `consumers` starts."""
        return offsets(self.n_consumers)

    @cached_property
    def consumers(self) -> Ids:
        """The tasks that take each dataset, in ascending order within its row."""
        task_of_input = np.repeat(np.arange(self.n_tasks, dtype=np.int32), self.n_inputs)
        return task_of_input[np.argsort(self.inputs, kind="stable")]

    def inputs_of(self, task: int) -> Ids:
        """The datasets that a task takes."""
        return self.inputs[self.input_start[task] : self.input_start[task + 1]]

    def consumers_of(self, dataset: int) -> Ids:
        """The tasks that take a dataset."""
        return self.consumers[self.consumer_start[dataset] : self.consumer_start[dataset + 1]]

    def outputs_of(self, task: int) -> range:
        """The datasets that a task makes."""
        return range(int(self.first_output[task]), int(self.first_output[task + 1]))


def _makers(n_tasks: int, n_outputs: Offsets) -> tuple[Offsets, Ids]:
    """The columns first_output and producer."""
    tasks = np.arange(n_tasks, dtype=np.int32)
    if not len(n_outputs):
        return np.arange(n_tasks + 1, dtype=np.int64), tasks
    return offsets(n_outputs), np.repeat(tasks, n_outputs)


def offsets(counts: Offsets) -> Offsets:
    """Where each row starts, given how long each is: the exclusive running sum, with the total at the end."""
    start = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:])
    return start


def _one_task() -> Topology:
    """Shared by many graphs, so nobody may write to it."""
    first = np.array([0], dtype=np.int32)
    rows, no_rows = np.array([0, 1], dtype=np.int64), np.zeros(2, dtype=np.int64)
    inputs, yes, no = np.empty(0, dtype=np.int32), np.ones(1, dtype=np.bool_), np.zeros(1, dtype=np.bool_)
    for column in (first, rows, no_rows, inputs, yes, no):
        column.flags.writeable = False
    return Topology(
        n_tasks=1,
        n_datasets=1,
        function=first,
        first_output=rows,
        input_start=no_rows,
        inputs=inputs,
        producer=first,
        is_output=yes,
        is_generator=no,
    )


_ONE_TASK = _one_task()
