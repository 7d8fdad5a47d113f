"""Pickles functions under the decorators of `functools`, and names from `typing`.

By default they pickle as references to the module that defines them.

A runner lacks that module, or its `__main__` is another one. So each object is made again around its pickled parts. Caches start empty.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from types import FunctionType
from typing import Any

from headrace.callables import exported

CachedFunction: type[Any] = type(functools.cache(len))
"""The type of functions decorated with `functools.lru_cache` or `functools.cache`."""
NAMES = ("__module__", "__name__", "__qualname__", "__doc__")
"""Attributes that `functools.wraps` copies from a function. They travel too, because that function may still be incomplete when it is
unpickled."""
MADE_ANEW = frozenset({"__wrapped__", "cache_parameters", "registry", "dispatch", "register", "_clear_cache", "__annotate__"})
"""Attributes that the decorators themselves set."""


def reduce_cached(function: Any) -> Any:
    """Reduce a function with `functools.lru_cache` to the plain function and a cache of the same kind, without the cached values."""
    if exported(function) is not None:
        return function.__qualname__
    parameters = function.cache_parameters()
    return make_cached, (function.__wrapped__, parameters["maxsize"], parameters["typed"]), _attributes(function)


def make_cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """Decorate the function with an empty cache."""
    return functools.lru_cache(maxsize, typed)(function)


def is_single_dispatch(function: FunctionType) -> bool:
    """Return whether `functools.singledispatch` made the function."""
    return vars(function).keys() >= {"registry", "dispatch", "register", "__wrapped__"}


def reduce_single_dispatch(function: Any) -> Any:
    """Reduce a function with `functools.singledispatch` to the plain function and the implementation for each type.

    Its cache of types is omitted, because it holds weak references, which cannot be pickled.
    """
    state = dict(function.registry), {name: getattr(function, name) for name in NAMES} | _attributes(function)
    return functools.singledispatch, (function.__wrapped__,), state, None, None, set_single_dispatch


def set_single_dispatch(function: Any, state: tuple[dict[type[Any], Callable[..., Any]], dict[str, Any]]) -> None:
    """Register the implementations, and set the function's names."""
    registry, attributes = state
    _register(function, registry)
    for name, value in attributes.items():
        setattr(function, name, value)


def reduce_single_dispatch_method(found: functools.singledispatchmethod[Any]) -> Any:
    """Reduce a method with `functools.singledispatchmethod`, without the weak references that it has in some releases of Python."""
    return functools.singledispatchmethod, (found.func,), dict(found.dispatcher.registry), None, None, set_single_dispatch_method


def set_single_dispatch_method(method: functools.singledispatchmethod[Any], registry: dict[type[Any], Callable[..., Any]]) -> None:
    """Register the implementations."""
    _register(method.dispatcher, registry)


def _register(function: Any, registry: dict[type[Any], Callable[..., Any]]) -> None:
    for kind, implementation in registry.items():
        function.register(kind, implementation)


def reduce_cached_property(found: functools.cached_property[Any]) -> Any:
    """Reduce a cached property, without the lock that it has in Python 3.11."""
    return functools.cached_property, (found.func,), {"attrname": found.attrname}


def _attributes(function: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(function).items() if name not in MADE_ANEW}


def _named(make: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], Any]:
    """Make a reducer for objects that `typing` pickles by their name. make: returns the arguments of its type that make it again."""

    def reduce(found: Any) -> Any:
        if exported(found) is not None:
            return found.__name__
        return type(found), make(found)

    return reduce


REDUCERS: dict[type[Any], Callable[[Any], Any]] = {
    CachedFunction: reduce_cached,
    functools.cached_property: reduce_cached_property,
    functools.singledispatchmethod: reduce_single_dispatch_method,
    typing.NewType: _named(lambda found: (found.__name__, found.__supertype__)),
    typing.ParamSpec: _named(lambda found: (found.__name__,)),
    typing.TypeVarTuple: _named(lambda found: (found.__name__,)),
}
"""Reducers by exact type."""
if (alias := getattr(typing, "TypeAliasType", None)) is not None:  # from Python 3.12
    REDUCERS[alias] = _named(lambda found: (found.__name__, found.__value__))
