"""The shape of a frozen graph as numpy columns, in which the controller, the scheduler, hosts and the ledger look up tasks and datasets."""

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


class SpecColumns(NamedTuple):
    """A submitted graph's columns of integers as arrays; n_outputs and n_inputs may be empty.

    Converting a list to an array takes longer than most operations on it, so it is done once.
    """

    function: Offsets
    n_outputs: Offsets
    n_inputs: Offsets
    inputs: Offsets
    outputs: Offsets

    @classmethod
    def of(cls, spec: GraphSpec) -> SpecColumns:
        """Return the columns of a graph whose entries are integers of 64 bits."""
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
    is_output (n_datasets): whether the dataset was requested.
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
    def from_spec(cls, spec: GraphSpec, columns: SpecColumns | None = None) -> Topology:
        """Return the topology of a graph that `validation.validate` has checked, or that `freeze` made.

        columns: the arrays of the graph's columns, if they exist already.
        """
        columns = columns if columns is not None else SpecColumns.of(spec)
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
        """Return the shared topology of all graphs of one task that takes nothing, yields nothing and makes the one requested dataset."""
        return _ONE_TASK

    @cached_property
    def n_asked(self) -> int:
        """The number of requested datasets."""
        return int(np.count_nonzero(self.is_output))

    @cached_property
    def n_outputs(self) -> Offsets:
        """The number of datasets that each task makes."""
        return np.diff(self.first_output)

    @cached_property
    def n_inputs(self) -> Offsets:
        """The number of distinct datasets that each task takes."""
        return np.diff(self.input_start)

    @cached_property
    def n_consumers(self) -> Offsets:
        """The number of tasks that take each dataset."""
        return np.bincount(self.inputs, minlength=self.n_datasets)

    @cached_property
    def consumer_start(self) -> Offsets:
        """The start of each dataset's row of `consumers` (n_datasets + 1)."""
        return offsets(self.n_consumers)

    @cached_property
    def consumers(self) -> Ids:
        """The tasks that take each dataset, in ascending order within its row."""
        task_of_input = np.repeat(np.arange(self.n_tasks, dtype=np.int32), self.n_inputs)
        return task_of_input[np.argsort(self.inputs, kind="stable")]

    def inputs_of(self, task: int) -> Ids:
        """Return the datasets that a task takes."""
        return self.inputs[self.input_start[task] : self.input_start[task + 1]]

    def consumers_of(self, dataset: int) -> Ids:
        """Return the tasks that take a dataset."""
        return self.consumers[self.consumer_start[dataset] : self.consumer_start[dataset + 1]]

    def outputs_of(self, task: int) -> range:
        """Return the datasets that a task makes."""
        return range(int(self.first_output[task]), int(self.first_output[task + 1]))


def _makers(n_tasks: int, n_outputs: Offsets) -> tuple[Offsets, Ids]:
    """Return the columns first_output and producer."""
    tasks = np.arange(n_tasks, dtype=np.int32)
    if not len(n_outputs):
        return np.arange(n_tasks + 1, dtype=np.int64), tasks
    return offsets(n_outputs), np.repeat(tasks, n_outputs)


def offsets(counts: Offsets) -> Offsets:
    """Return the start of each row from the lengths of the rows: the exclusive running sum, with the total at the end."""
    start = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:])
    return start


def _one_task() -> Topology:
    """Return the topology that many graphs share. Its arrays are read-only."""
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
