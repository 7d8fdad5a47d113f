"""Checks that a submitted graph's columns fit together. A service validates a graph before it uses the columns as indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sized

import numpy as np
import numpy.typing as npt

from headrace.errors import GraphError
from headrace.graph.checks import MAX_NAME
from headrace.graph.resources import check_resources
from headrace.graph.topology import Offsets, SpecColumns, Topology, offsets
from headrace_schemas.base import SCHEMA_VERSION
from headrace_schemas.graph import FunctionSpec, GraphSpec
from headrace_schemas.limits import MAX_IDS, MAX_RETRIES, most_datasets

FEW_TASKS = 32
"""Number of tasks up to which plain loops are faster than the 30 numpy calls, which take about 40 microseconds at any size."""


def validate(spec: GraphSpec) -> Topology:
    """Check a graph, and return its topology.

    Its columns must be consistent, and every input must be made before it is taken, so that there is no cycle. Raises GraphError, which
    says which column is wrong, where, and how. Reads only names and integers, and unpickles nothing.
    """
    if spec.v > SCHEMA_VERSION:
        raise GraphError(
            f"graph {spec.name!r} has schema version {spec.v}, but this release reads up to {SCHEMA_VERSION}: upgrade this side"
        )
    try:
        if _is_one_task(spec):
            _check_function(0, spec.functions[0])
            return Topology.of_one_task()
        _check_sizes(spec)
        for index, function in enumerate(spec.functions):
            _check_function(index, function)
        columns = None
        if spec.n_tasks > FEW_TASKS or not _is_plainly_sound(spec):
            columns = SpecColumns(*[_array(what, getattr(spec, what)) for what in SpecColumns._fields])
            _check_columns(spec, columns)
    except GraphError as error:
        raise GraphError(f"graph {spec.name!r:.80} is malformed: {error}") from None
    return Topology.from_spec(spec, columns)


def _check_sizes(spec: GraphSpec) -> None:
    n = spec.n_tasks
    _expect(0 < n <= MAX_IDS, f"n_tasks is {n}, not 1 to {MAX_IDS}")
    _expect(len(spec.function) == n, f"function has {len(spec.function)} entries for {n} tasks")
    for what, column in (("n_outputs", spec.n_outputs), ("n_inputs", spec.n_inputs)):
        _expect(len(column) in (0, n), f"{what} has {len(column)} entries for {n} tasks")
    _expect(spec.block_size >= 1, f"block_size is {spec.block_size}, not at least 1")
    blocks = -(-n // spec.block_size)
    _expect(len(spec.blocks) == blocks, f"{len(spec.blocks)} blocks of {spec.block_size} tasks for {n} tasks, not {blocks}")


def _is_one_task(spec: GraphSpec) -> bool:
    """Return whether the graph is the smallest there is, without labels: one task that takes nothing and makes one output.

    Services see many of these, one by one; all share one topology.
    """
    if spec.n_tasks != 1 or spec.function != [0] or spec.outputs != [0] or len(spec.functions) != 1 or spec.functions[0].generator:
        return False
    if spec.inputs or spec.n_inputs or spec.n_outputs or len(spec.blocks) != 1 or spec.block_size < 1:
        return False
    return not _has_labels(spec)


def _has_labels(spec: GraphSpec) -> bool:
    if spec.named or spec.names or spec.annotated or spec.metadata or spec.described or spec.descriptions:
        return True
    return bool(spec.sunk or spec.sink)


def _is_plainly_sound(spec: GraphSpec) -> bool:
    """Return whether a small graph without labels passes `_check_columns`. If not, `_check_columns` finds what is wrong, if anything is."""
    if _has_labels(spec) or not spec.outputs:
        return False
    n_outputs, n_inputs = spec.n_outputs or [1] * spec.n_tasks, spec.n_inputs or [0] * spec.n_tasks
    n_datasets, n_functions = sum(n_outputs), len(spec.functions)
    if (
        min(n_outputs) < 1
        or n_datasets > most_datasets(spec.n_tasks, len(spec.inputs), len(spec.outputs))
        or min(n_inputs) < 0
        or sum(n_inputs) != len(spec.inputs)
    ):
        return False
    if not _are_distinct_ids(spec.outputs, n_datasets) or not all(0 <= function < n_functions for function in spec.function):
        return False
    position = made = 0
    for outputs, taken in zip(n_outputs, n_inputs, strict=True):
        if taken and not _are_distinct_ids(spec.inputs[position : position + taken], made):
            return False
        position += taken
        made += outputs
    return True


def _are_distinct_ids(ids: list[int], end: int) -> bool:
    return min(ids) >= 0 and max(ids) < end and len(set(ids)) == len(ids)


def _check_columns(spec: GraphSpec, columns: SpecColumns) -> None:
    _check_range("function", columns.function, len(spec.functions))
    n_datasets = _check_outputs(spec.n_tasks, columns)
    _check_inputs(spec.n_tasks, columns, n_datasets)
    _check_labels(spec, n_datasets)


def _check_function(index: int, function: FunctionSpec) -> None:
    by_name = bool(function.module and function.qualname)
    sound = 0 < len(function.name) <= MAX_NAME and by_name != bool(function.pickled) and 0 <= function.retries <= MAX_RETRIES
    if sound and not function.resources:  # the usual case: no error texts are needed
        return
    what = f"functions[{index}] ({function.name!r:.80})"
    _expect(0 < len(function.name) <= MAX_NAME, f"{what} has a name of {len(function.name)} characters, not 1 to {MAX_NAME}")
    _expect(
        by_name != bool(function.pickled),
        f"{what} travels either by module and qualname or as a pickle, not {'both' if by_name else 'neither'}",
    )
    _expect(0 <= function.retries <= MAX_RETRIES, f"{what} has {function.retries} retries, not 0 to {MAX_RETRIES}")
    if function.resources:
        check_resources(function.resources, what)


def _check_outputs(n_tasks: int, columns: SpecColumns) -> int:
    n_outputs, outputs = columns.n_outputs, columns.outputs
    _at_fault("n_outputs", n_outputs, (n_outputs < 1) | (n_outputs > MAX_IDS), f"is not 1 to {MAX_IDS}")
    n_datasets = int(n_outputs.sum()) if len(n_outputs) else n_tasks
    most = most_datasets(n_tasks, len(columns.inputs), len(outputs))
    _expect(
        n_datasets <= most,
        f"its tasks make {n_datasets:,} datasets, more than {most:,} for a graph of its size: have tasks make fewer outputs, "
        f"or use more of them as inputs or outputs of the graph",
    )
    _expect(len(outputs) > 0, "outputs is empty: no dataset is requested")
    _check_range("outputs", outputs, n_datasets)
    _expect(int(np.bincount(outputs).max()) == 1, "outputs names a dataset twice")
    return n_datasets


def _check_inputs(n_tasks: int, columns: SpecColumns, n_datasets: int) -> None:
    inputs = columns.inputs
    n_inputs = columns.n_inputs if len(columns.n_inputs) else np.zeros(n_tasks, dtype=np.int64)
    _at_fault("n_inputs", n_inputs, (n_inputs < 0) | (n_inputs > len(inputs)), f"is not 0 to {len(inputs)}, the length of inputs")
    _expect(int(n_inputs.sum()) == len(inputs), f"inputs has {len(inputs)} entries, but n_inputs adds up to {int(n_inputs.sum())}")
    _check_range("inputs", inputs, n_datasets)
    task = np.repeat(np.arange(n_tasks), n_inputs)
    first_output = offsets(columns.n_outputs) if len(columns.n_outputs) else np.arange(n_tasks + 1)
    late = inputs >= first_output[task]
    if late.any():
        where = int(late.argmax())
        raise GraphError(f"inputs[{where}]: task {task[where]} takes dataset {inputs[where]}, which no task before it makes")
    pairs = np.sort(task * n_datasets + inputs)
    twice = pairs[1:] == pairs[:-1]
    if twice.any():
        where = int(pairs[int(twice.argmax())])
        raise GraphError(f"inputs: task {where // n_datasets} names dataset {where % n_datasets} twice")


def _check_labels(spec: GraphSpec, n_datasets: int) -> None:
    columns: list[tuple[str, list[int], Sized, int]] = [
        ("named", spec.named, spec.names, spec.n_tasks),
        ("annotated", spec.annotated, spec.metadata, spec.n_tasks),
        ("described", spec.described, spec.descriptions, n_datasets),
        ("sunk", spec.sunk, spec.sink, n_datasets),
    ]
    for what, ids, labels, end in columns:
        _expect(len(ids) == len(labels), f"{what} has {len(ids)} ids for {len(labels)} entries")
        column = _array(what, ids)
        _check_range(what, column, end)
        _expect(bool((np.diff(column) > 0).all()), f"{what} is not in ascending order")
    _check_range("sink", _array("sink", spec.sink), len(spec.sinks))
    for place, name in enumerate(spec.names):
        _expect(0 < len(name) <= MAX_NAME, f"names[{place}] has {len(name)} characters, not 1 to {MAX_NAME}")
    if len(set(spec.names)) != len(spec.names):
        raise GraphError(f"names: {Counter(spec.names).most_common(1)[0][0]!r:.80} is given to several tasks")


def _array(what: str, column: list[int]) -> Offsets:
    try:
        return np.array(column, dtype=np.int64)
    except (OverflowError, TypeError, ValueError):
        raise GraphError(f"{what} has an entry that is not a 64-bit integer") from None


def _check_range(what: str, column: Offsets, end: int) -> None:
    _at_fault(what, column, (column < 0) | (column >= end), f"is not 0 to {end - 1}")


def _at_fault(what: str, column: Offsets, faults: npt.NDArray[np.bool_], why: str) -> None:
    if faults.any():
        where = int(faults.argmax())
        raise GraphError(f"{what}[{where}] is {column[where]}, which {why}")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise GraphError(otherwise)
