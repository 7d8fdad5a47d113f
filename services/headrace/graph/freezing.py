"""Freezes a graph under construction into the immutable one that travels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from typing import Any

import msgspec

from headrace.errors import GraphError, NotPicklable
from headrace.graph.builder import Graph
from headrace.graph.columns import GraphColumns
from headrace.graph.functions import describe
from headrace.graph.generators import refuse_shared_generators
from headrace.graph.hashing import code_bytes, content_hash, shape_hash
from headrace.graph.search import FreeSearch
from headrace.graph.templates import Nested, Template
from headrace.graph.validation import validate
from headrace.pickling.portable import dumps
from headrace.pickling.sources import Sources
from headrace_schemas.graph import FunctionSpec, GraphSpec

BLOCK_SIZE = 256
"""Number of tasks whose arguments share a pickle. It is large enough that pickling costs a fraction of a microsecond per task, and small
enough that a host that runs a part of the graph unpickles few other arguments."""

_NOTHING: tuple[Any, ...] = ((), {}, (), ())
"""The parts of a template that its shorter forms omit."""


def freeze(graph: Graph) -> GraphSpec:
    """Return the graph as columns, with its callables and arguments pickled and its hashes.

    You can still add to the graph itself afterwards.

    Raises GraphError for an empty graph, a random generator that several tasks share, ambiguous names of tasks or datasets, and names or
    metadata that JSON cannot represent; NotPicklable, which names the task and the argument, for a value that cannot be pickled.
    """
    columns = graph.columns
    if not columns.function:
        raise GraphError(f"graph {graph.name!r} is empty: add a task to it")
    _check_names(graph)
    _check_json(graph)
    sources = Sources()
    functions = _functions(graph, sources)
    spec = GraphSpec(
        name=graph.name,
        n_tasks=len(graph),
        shape_hash="",
        content_hash="",
        functions=functions,
        function=columns.function.copy(),
        n_outputs=columns.n_outputs.copy() if columns.n_datasets != len(graph) else [],
        n_inputs=columns.n_inputs.copy() if columns.inputs else [],
        inputs=columns.inputs.copy(),
        outputs=list(columns.outputs) or _unconsumed(columns),
        block_size=BLOCK_SIZE,
        blocks=[_block(graph, start, sources) for start in range(0, len(graph), BLOCK_SIZE)],
        named=list(columns.names),
        names=list(columns.names.values()),
        annotated=list(columns.metadata),
        metadata=list(columns.metadata.values()),
        described=list(columns.descriptions),
        descriptions=list(columns.descriptions.values()),
    )
    refuse_shared_generators(graph, spec.blocks)
    spec.sources = sources.specs()
    if columns.sinks:
        _add_sinks(spec, columns)
    spec.shape_hash = shape_hash(validate(spec), functions)
    code = [code_bytes(each, given.callable) for each, given in zip(functions, columns.functions, strict=True)]
    spec.content_hash = content_hash(spec.shape_hash, code, spec.blocks)
    return spec


def _add_sinks(spec: GraphSpec, columns: GraphColumns) -> None:
    """Add the outputs that have a sink of their own, and each sink once."""
    distinct = {id(sink): sink for sink in columns.sinks.values()}
    places = {key: place for place, key in enumerate(distinct)}
    spec.sinks = [sink.spec() for sink in distinct.values()]
    spec.sunk = sorted(columns.sinks)
    spec.sink = [places[id(columns.sinks[dataset])] for dataset in spec.sunk]


def _unconsumed(columns: GraphColumns) -> list[int]:
    """Return the datasets that no task takes."""
    if not columns.inputs:
        return list(range(columns.n_datasets))
    is_free = bytearray(b"\1") * columns.n_datasets
    for dataset in columns.inputs:
        is_free[dataset] = 0
    return list(compress(range(columns.n_datasets), is_free))


def _functions(graph: Graph, sources: Sources) -> list[FunctionSpec]:
    specs = []
    for index, function in enumerate(graph.columns.functions):
        try:
            specs.append(describe(function, sources))
        except Exception as error:
            task = graph.task_name(graph.columns.function.index(index))
            raise NotPicklable(
                f"function {function.name!r} of task {task!r} cannot be pickled: {error}. "
                "Define it at the top of an importable module, or keep what cannot be pickled (open files, locks, connections) out of it"
            ) from error
    return specs


def _block(graph: Graph, start: int, sources: Sources) -> bytes:
    """Return the pickled templates of consecutive tasks."""
    templates = graph.columns.templates[start : start + BLOCK_SIZE]
    try:
        return dumps(templates, sources)
    except Exception as error:
        _blame(graph, start, templates)
        last = graph.task_name(start + len(templates) - 1)
        raise NotPicklable(f"the arguments of tasks {graph.task_name(start)!r} to {last!r} cannot be pickled together: {error}") from error


def _blame(graph: Graph, start: int, templates: list[Template]) -> None:
    """Raise NotPicklable for the first argument that cannot be pickled by itself."""
    for task, template in enumerate(templates, start):
        for where, part in _parts(template):
            try:
                dumps(part)
            except Exception as error:
                what = f"argument {where!r}" if isinstance(where, str) else f"argument {where} (counted from 0)"
                if _has_node(part):
                    raise NotPicklable(
                        f"{what} of task {graph.task_name(task)!r} was changed after `add`: it now contains a node that it did not "
                        "contain then. Nodes must exist before the tasks that take them (so there are no cycles): add a task once its "
                        "lists and dicts are complete"
                    ) from error
                raise NotPicklable(f"{what} of task {graph.task_name(task)!r} cannot be pickled: {error}") from error


def _has_node(part: Any) -> bool:
    """Return whether the argument contains a node where the search of a call's arguments would have found it."""
    try:
        return FreeSearch().filler(part.items if isinstance(part, Nested) else part) is not None
    except RecursionError:  # it contains itself
        return False


def _parts(template: Template) -> Iterator[tuple[int | str, Any]]:
    """Yield the static parts of each argument, with its position or name."""
    if template is None:
        return
    args, kwargs, patches, keyword_patches = (*template, *_NOTHING[len(template) :])
    yield from enumerate(args)
    yield from kwargs.items()
    yield from patches
    yield from keyword_patches


def _check_names(graph: Graph) -> None:
    """Raise GraphError if the name of a task is also generated for another task or dataset."""
    for task, name in graph.columns.names.items():
        clash = _clash(graph, name)
        if clash:
            raise GraphError(f"task {task} of graph {graph.name!r} is called {name!r}, and so is {clash}: give one of them another name")


def _clash(graph: Graph, name: str) -> str | None:
    """Describe what else the name of a task would mean: a task without a name of its own, or one dataset of a task that has several."""
    task = graph.unnamed_task(name)
    if task is not None:
        return f"task {task}, which has no name of its own"
    base, _, index = name[:-1].rpartition("[")
    if not name.endswith("]") or not base or not (index.isascii() and index.isdecimal()):
        return None
    owner = graph.task_called(base)
    n_outputs = 0 if owner is None else graph.columns.n_outputs[owner]
    return f"output {index} of task {base!r}" if n_outputs > 1 and int(index) < n_outputs else None


def _check_json(graph: Graph) -> None:
    """Raise GraphError for names and metadata that cannot be sent as JSON."""
    columns = graph.columns
    try:
        msgspec.json.encode(
            (graph.name, list(columns.names.values()), list(columns.metadata.values()), list(columns.descriptions.values()))
        )
    except Exception:  # find the value at fault, and report the encoder's error about it
        _blame_json(graph.name, f"the name of graph {graph.name!a}")
        for task, name in columns.names.items():
            _blame_json(name, f"the name {name!a} of task {task}")
        for task, metadata in columns.metadata.items():
            _blame_json(metadata, f"the metadata of task {graph.task_name(task)!r}")
        for dataset, description in columns.descriptions.items():
            _blame_json(description, f"the metadata of dataset {dataset}")


def _blame_json(value: Any, what: str) -> None:
    try:
        msgspec.json.encode(value)
    except Exception as error:
        raise GraphError(f"{what} cannot be sent as JSON: {error}. Use str, int, float, bool, None, lists and dicts") from error
