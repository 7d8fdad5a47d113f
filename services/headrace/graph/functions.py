"""Serializes callables and arguments: a callable travels by name if a module exports it, and as a cloudpickle otherwise."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any

from headrace.callables import exported, find_attribute, unwrap
from headrace.errors import FunctionNotFound
from headrace.graph.columns import Function
from headrace.pickling.portable import dumps_by_value
from headrace.pickling.sources import Sources
from headrace_schemas.graph import FunctionSpec

_OF_THE_SCRIPT = (
    "It was pickled as a reference to the script, which runners do not have. Define it in a module that the workers can import, "
    "or create it inside the task"
)


def describe(function: Function, sources: Sources | None = None) -> FunctionSpec:
    """Describe a callable of a graph for sending. sources: records where its code came from. Raises any exception that pickling raises."""
    spec = FunctionSpec(name=function.name, generator=function.generator, retries=function.retries, resources=dict(function.resources))
    place = exported(function.callable)
    if place is None:
        spec.pickled = _code(function.callable, sources)
    else:
        spec.module, spec.qualname = place
    return spec


def load_function(spec: FunctionSpec) -> Callable[..., Any]:
    """Import or unpickle the plain callable, without the decorator of `hr.task` if it had one.

    This unpickles: only runners may call it, and only on an authenticated job's graph. Raises FunctionNotFound, an ImportError that says
    what is missing and what to do.
    """
    try:
        found = pickle.loads(spec.pickled) if spec.pickled else find_attribute(importlib.import_module(spec.module), spec.qualname)
    except (ImportError, AttributeError) as error:
        advice = _OF_THE_SCRIPT if spec.pickled and "__main__" in str(error) else _advice(spec)
        raise FunctionNotFound(f"{_whereabouts(spec)} cannot be loaded here: {error}. {advice}") from error
    except SystemExit as end:
        raise FunctionNotFound(
            f"{_whereabouts(spec)} cannot be loaded here: a module that it imports ends the process (SystemExit: {end}). Parse "
            "arguments and run programs only under `if __name__ == '__main__':`"
        ) from end
    if not callable(found):
        raise FunctionNotFound(f"{_whereabouts(spec)} is not callable here, but {type(found).__name__}. {_advice(spec)}")
    return unwrap(found)


def _code(function: Callable[..., Any], sources: Sources | None) -> bytes:
    if type(function) is not FunctionType or sources is None:
        return dumps_by_value(function, sources)
    from headrace.pickling import remembered  # imports cloudpickle, see dumps_by_value

    return remembered.dumps(function, sources)


def _whereabouts(spec: FunctionSpec) -> str:
    return f"function {spec.name!r}, sent as a pickle," if spec.pickled else f"function {spec.qualname!r} of module {spec.module!r}"


def _advice(spec: FunctionSpec) -> str:
    if spec.pickled:
        return (
            "Install what it imports on the workers, in the client's version, "
            "or register that module with cloudpickle.register_pickle_by_value"
        )
    return (
        "Install the module on the workers, in the client's version, or define the function in __main__ (a script or notebook) "
        "or register its module with cloudpickle.register_pickle_by_value, so that its code travels with the graph"
    )
