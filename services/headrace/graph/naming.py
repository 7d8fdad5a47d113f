"""Names and metadata of the tasks and datasets of a frozen graph."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from headrace_schemas.graph import GraphSpec

if TYPE_CHECKING:
    from headrace.graph.topology import Topology

INPUT_NAMES = 100
"""Most inputs that a failure names: it travels in a message, and a person reads it."""


def task_name(spec: GraphSpec, task: int) -> str:
    """Return the task's own name, or "<function>-<id>"."""
    place = _find(spec.named, task)
    return f"{spec.functions[spec.function[task]].name}-{task}" if place is None else spec.names[place]


def task_metadata(spec: GraphSpec, task: int) -> dict[str, Any]:
    """Return the metadata that the task was given; empty if none was."""
    place = _find(spec.annotated, task)
    return {} if place is None else spec.metadata[place]


def dataset_metadata(spec: GraphSpec, task: int, dataset: int) -> dict[str, Any]:
    """Return the metadata of a task's dataset: the metadata of the task, updated with that of the dataset itself."""
    place = _find(spec.described, dataset)
    return {**task_metadata(spec, task), **({} if place is None else spec.descriptions[place])}


def output_name(spec: GraphSpec, task: int, index: int) -> str:
    """Return the name of one of a task's datasets.

    It is the task's name, with the output's index in brackets if the task makes several outputs: "steps[3]".
    """
    name = task_name(spec, task)
    return f"{name}[{index}]" if spec.n_outputs and spec.n_outputs[task] > 1 else name


def dataset_name(spec: GraphSpec, dataset: int, topology: Topology) -> str:
    """Return the name of a dataset, as `output_name` does, by its id."""
    task = int(topology.producer[dataset])
    return output_name(spec, task, dataset - int(topology.first_output[task]))


def dataset_names(spec: GraphSpec, datasets: Iterable[int], topology: Topology) -> list[str]:
    """Return the names of many datasets.

    This is much faster than `dataset_name` where tasks have one output each and no names of their own.
    """
    if spec.n_outputs or spec.named:
        return [dataset_name(spec, dataset, topology) for dataset in datasets]
    labels, function = [each.name for each in spec.functions], spec.function
    return [f"{labels[function[dataset]]}-{dataset}" for dataset in datasets]


def input_names(spec: GraphSpec, task: int, topology: Topology) -> list[str]:
    """Return the names of the first datasets that a task takes, in the order of its arguments."""
    return dataset_names(spec, topology.inputs_of(task)[:INPUT_NAMES].tolist(), topology)


SHOWN = 3
"""Names that a message spells out; it counts the others."""
NAME_CHARACTERS = 48
"""Characters after which a name is cut."""


def some_tasks(spec: GraphSpec, tasks: Sequence[int], count: int | None = None) -> str:
    """Name some tasks for a person who reads a message: the first names, and the number of the others.

    count: the number of all tasks, if `tasks` is only the beginning.
    """
    return _some([task_name(spec, task) for task in tasks[:SHOWN]], len(tasks) if count is None else count)


def some_datasets(spec: GraphSpec, datasets: Sequence[int], topology: Topology) -> str:
    """Name some datasets for a person who reads a message."""
    return _some([dataset_name(spec, dataset, topology) for dataset in datasets[:SHOWN]], len(datasets))


def _some(names: list[str], count: int) -> str:
    if count == 1 and len(names[0]) <= NAME_CHARACTERS:  # most jobs of one task, each time
        return names[0]
    short = ", ".join(name if len(name) <= NAME_CHARACTERS else f"{name[:NAME_CHARACTERS]}…" for name in names)
    return short if count <= len(names) else f"{short} and {count - len(names)} more"


def _find(ascending: list[int], wanted: int) -> int | None:
    if not ascending:  # the usual case
        return None
    place = bisect_left(ascending, wanted)
    return place if place < len(ascending) and ascending[place] == wanted else None
