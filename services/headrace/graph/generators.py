"""Finds random generators among the arguments of tasks.

If several tasks got the same one, each would have a copy, and all would draw the same numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from headrace.errors import GraphError
from headrace.graph.templates import Nested

if TYPE_CHECKING:
    from headrace.graph.builder import Graph

_MARKS = (b"numpy.random", b"\x06random")
"""Bytes that the pickle of every generator contains: the name of its module, or the length of the name and the name."""
_TYPES = frozenset(
    {
        ("random", "Random"),
        ("numpy.random._generator", "Generator"),
        ("numpy.random.mtrand", "RandomState"),
        ("numpy.random.bit_generator", "BitGenerator"),
    }
)
_DEPTH = 6
"""Levels of containers and objects that the search for generators descends into."""


def refuse_shared_generators(graph: Graph, blocks: Iterable[bytes]) -> None:
    """Raise GraphError if two tasks are given the same generator. blocks: the graph's pickled arguments."""
    if not any(mark in block for block in blocks for mark in _MARKS):
        return
    owners: dict[int, int] = {}
    for task, template in enumerate(graph.columns.templates):
        for generator in _generators(template, _DEPTH):
            other = owners.setdefault(id(generator), task)
            if other != task:
                raise GraphError(
                    f"tasks {graph.task_name(other)!r} and {graph.task_name(task)!r} are given the same random generator, a "
                    f"{type(generator).__name__}: each would draw the same numbers from its copy. Give each task its own generator, from "
                    "rng.spawn(n) or numpy.random.SeedSequence(seed).spawn(n), or a seed"
                )


def _generators(value: Any, depth: int) -> Iterator[Any]:
    if is_generator(type(value)):
        yield value
    elif depth:
        for item in _items(value):
            yield from _generators(item, depth - 1)


def _items(value: Any) -> Iterable[Any]:
    """Return the items of a container, or the attributes of an object."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, Nested):
        return (value.items, value.patches)
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if isinstance(value, MethodType | BuiltinMethodType):
        return (value.__self__,)
    held = None if isinstance(value, type | FunctionType | ModuleType) else getattr(value, "__dict__", None)
    return held.values() if isinstance(held, dict) else ()


def is_generator(kind: type) -> bool:
    """Return whether a type is a random generator of Python or NumPy that has its own state. Imports neither."""
    names = [(base.__module__, base.__qualname__) for base in kind.__mro__]
    return not _TYPES.isdisjoint(names) and ("random", "SystemRandom") not in names
