"""What the tasks and datasets of a frozen graph are called, and the metadata they were given."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from headrace_schemas.graph import GraphSpec

if TYPE_CHECKING:
    from headrace.graph.topology import Topology

INPUT_NAMES = 100
"""Inputs that a failure names, at most: it travels in a message, and a person reads it."""


def task_name(spec: GraphSpec, task: int) -> str:
    """The task's own name, or "<function>-<id>"."""
    place = _find(spec.named, task)
    return f"{spec.functions[spec.function[task]].name}-{task}" if place is None else spec.names[place]


def task_metadata(spec: GraphSpec, task: int) -> dict[str, Any]:
    """The metadata that the task was given; empty if none was."""
    place = _find(spec.annotated, task)
    return {} if place is None else spec.metadata[place]


def dataset_metadata(spec: GraphSpec, task: int, dataset: int) -> dict[str, Any]:
    """The metadata of a task's dataset: that of the task, overlaid with what was given for the dataset itself."""
    place = _find(spec.described, dataset)
    return {**task_metadata(spec, task), **({} if place is None else spec.descriptions[place])}


def output_name(spec: GraphSpec, task: int, index: int) -> str:
    """The name of one of a task's datasets: the task's, with the output's index in brackets if the task makes several: "steps[3]"."""
    name = task_name(spec, task)
    return f"{name}[{index}]" if spec.n_outputs and spec.n_outputs[task] > 1 else name


def dataset_name(spec: GraphSpec, dataset: int, topology: Topology) -> str:
    """`output_name` of a dataset by its id."""
    task = int(topology.producer[dataset])
    return output_name(spec, task, dataset - int(topology.first_output[task]))


def dataset_names(spec: GraphSpec, datasets: Iterable[int], topology: Topology) -> list[str]:
    """`dataset_name` of many, in a fraction of the time where tasks have one output each and no names of their own."""
    if spec.n_outputs or spec.named:
        return [dataset_name(spec, dataset, topology) for dataset in datasets]
    labels, function = [each.name for each in spec.functions], spec.function
    return [f"{labels[function[dataset]]}-{dataset}" for dataset in datasets]


def input_names(spec: GraphSpec, task: int, topology: Topology) -> list[str]:
    """The names of the first datasets that a task takes, in the order of its arguments."""
    return dataset_names(spec, topology.inputs_of(task)[:INPUT_NAMES].tolist(), topology)


SHOWN = 3
"""Names that a message has in words; the others are counted."""
NAME_CHARACTERS = 48
"""Longer names are cut there."""


def some_tasks(spec: GraphSpec, tasks: Sequence[int], count: int | None = None) -> str:
    """A list of tasks for a person who reads a message: the first names, and how many there are besides. count: if `tasks` is its
    beginning only."""
    return _some([task_name(spec, task) for task in tasks[:SHOWN]], len(tasks) if count is None else count)


def some_datasets(spec: GraphSpec, datasets: Sequence[int], topology: Topology) -> str:
    """The same for datasets."""
    return _some([dataset_name(spec, dataset, topology) for dataset in datasets[:SHOWN]], len(datasets))


def _some(names: list[str], count: int) -> str:
    short = ", ".join(name if len(name) <= NAME_CHARACTERS else f"{name[:NAME_CHARACTERS]}…" for name in names)
    return short if count <= len(names) else f"{short} and {count - len(names)} more"


def _find(ascending: list[int], wanted: int) -> int | None:
    if not ascending:  # the usual case
        return None
    place = bisect_left(ascending, wanted)
    return place if place < len(ascending) and ascending[place] == wanted else None
