"""Remembers the pickles of functions that a process submits repeatedly. A pickle is reused while nothing that it depends on changes.

Without this, a program that sends many small graphs would spend a quarter of its time in `submit` on pickling the same few functions by
value. The identity of a function contains what its pickle depends on, and takes a few microseconds to compute. A function that refers to
anything that can change unnoticed has no identity, and is pickled each time.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import cloudpickle

from headrace.callables import CONSTANTS, codes_in, is_imported_module
from headrace.pickling import by_value
from headrace.pickling.sources import Sources
from headrace_schemas.graph import SourceSpec

Identity = tuple[Any, ...]

_OF_THE_MODULE = ("__package__", "__name__", "__path__", "__file__")
"""The globals that cloudpickle sends with every function."""
_NONE: Any = ()
_MAX_FUNCTIONS = 50
"""Most functions that a function with an identity may refer to, directly or through others."""

_MISSING: Any = object()


class _Changeable(Exception):
    """Something in a function may change without a change of its identity."""


class _Parts(NamedTuple):
    """The objects from which an identity was computed.

    While they are the same objects, the identity is the same. To compute it takes ten times as long.

    variables: by name. They contain no other functions, so a function that refers to others has no such parts.
    """

    n_modules: int
    of_function: tuple[Any, ...]
    annotations: dict[str, Any]
    variables: list[tuple[str, Any]]

    def are_those_of(self, function: FunctionType) -> bool:
        """Return whether no part of the function was replaced since."""
        if function.__dict__ or self.n_modules != len(sys.modules) or cloudpickle.list_registry_pickle_by_value():
            return False
        for one, other in zip(self.of_function, _attributes(function), strict=True):
            if one is not other:
                return False
        given = function.__globals__
        for name, value in self.variables:
            if given.get(name, _MISSING) is not value:
                return False
        return function.__annotations__ == self.annotations


class _Pickle(NamedTuple):
    """A pickle, what it depends on, and the sources of its code."""

    identity: Identity
    parts: _Parts | None
    pickled: bytes
    codes: list[CodeType]
    specs: list[SourceSpec]


_pickles: WeakKeyDictionary[FunctionType, _Pickle] = WeakKeyDictionary()


def dumps(function: FunctionType, sources: Sources) -> bytes:
    """Pickle a function as `by_value.dumps` does, or return the same bytes from an earlier call. Raises any error of pickling."""
    known = _pickles.get(function)
    if known is None or known.parts is None or not known.parts.are_those_of(function):
        known = _renewed(function, known)
    sources.add_known(known.codes, known.specs)
    return known.pickled


def _renewed(function: FunctionType, known: _Pickle | None) -> _Pickle:
    """Compute the identity, pickle the function if it has changed, and remember the pickle if there is an identity."""
    identity = identity_of(function)
    if known is None or identity is None or known.identity != identity:
        noted = Sources()
        known = _Pickle(identity or (), None, by_value.dumps(function, sources=noted), noted.codes, noted.specs())
    if identity is not None:
        known = _pickles[function] = known._replace(parts=_parts_of(function))
    return known


def _parts_of(function: FunctionType) -> _Parts | None:
    """Return the parts of a function that has an identity. None if something in it can be replaced without changing these parts."""
    given = function.__globals__
    names = {*_OF_THE_MODULE, *(name for code in codes_in(function.__code__) for name in code.co_names)}
    variables = [(name, given.get(name, _MISSING)) for name in names]
    annotations = dict(function.__annotations__)
    fixed = all(isinstance(value, type | str) for value in annotations.values())
    if function.__kwdefaults__ or not fixed or any(type(value) is FunctionType for _, value in variables):
        return None
    return _Parts(len(sys.modules), _attributes(function), annotations, variables)


def _attributes(function: FunctionType) -> tuple[Any, ...]:
    return (
        function.__code__,
        function.__defaults__,
        function.__kwdefaults__,
        function.__name__,
        function.__qualname__,
        function.__module__,
        function.__doc__,
        getattr(function, "__type_params__", _NONE),
    )


def identity_of(function: FunctionType) -> Identity | None:
    """Return what the pickle of a function by value depends on; None if that cannot be determined.

    An identity contains values, not references, so that it keeps neither the function nor what it refers to alive.
    """
    if cloudpickle.list_registry_pickle_by_value():
        return None
    try:
        return (len(sys.modules), *_function(function, set()))
    except _Changeable:
        return None


def _function(function: FunctionType, seen: set[FunctionType]) -> Identity:
    """Return the identity of a function and of all functions that it refers to. seen: functions that are already included."""
    seen.add(function)
    by_reference = function.__module__ != "__main__" and "<locals>" not in function.__qualname__
    generic: tuple[Any, ...] = getattr(function, "__type_params__", _NONE)  # since Python 3.12
    has_more = function.__closure__ or function.__dict__ or generic
    if by_reference or has_more or len(seen) > _MAX_FUNCTIONS:
        raise _Changeable
    given = function.__globals__
    code = function.__code__
    parts: list[Any] = [code, code.co_filename, function.__name__, function.__qualname__, function.__module__]
    parts += [_constant(function.__doc__), *(_constant(given.get(name)) for name in _OF_THE_MODULE)]
    parts += [_constant(value) for value in function.__defaults__ or ()]
    for values in (function.__kwdefaults__, function.__annotations__):
        parts.append(tuple((name, _annotation(value)) for name, value in values.items()) if values else None)
    for each in codes_in(code):
        for name in each.co_names:
            if name in given:
                parts.append((name, _global(given[name], seen)))
    return tuple(parts)


def _global(value: Any, seen: set[FunctionType]) -> Any:
    """Return the identity of a global that a function refers to."""
    if is_imported_module(value):
        return value.__name__
    if type(value) is FunctionType:
        return value.__qualname__ if value in seen else _function(value, seen)
    return _constant(value)


def _annotation(value: Any) -> Any:
    """Return the identity of an annotation: a builtin class by its name, or a string."""
    if isinstance(value, type) and value.__module__ == "builtins":
        return value
    return _constant(value)


def _constant(value: Any) -> Any:
    kind = type(value)
    if kind not in CONSTANTS:
        raise _Changeable
    return (kind, repr(value)) if kind in (float, complex) else (kind, value)
