"""Functions under the decorators of `functools`, and names from `typing`, which pickle as references to the module that defines them.

In a runner there is no such module, or `__main__` is another one. Each is made again around its pickled parts. Caches come up empty.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from types import FunctionType
from typing import Any

from headrace.callables import exported

CachedFunction: type[Any] = type(functools.cache(len))
"""The type of what `functools.lru_cache` and `functools.cache` make."""
NAMES = ("__module__", "__name__", "__qualname__", "__doc__")
"""What `functools.wraps` copies from a function. The function that it would be copied from may still be incomplete when it is unpickled."""
MADE_ANEW = frozenset({"__wrapped__", "cache_parameters", "registry", "dispatch", "register", "_clear_cache", "__annotate__"})
"""Attributes that the decorators themselves set."""


def reduce_cached(function: Any) -> Any:
    """A function with `functools.lru_cache`: the function below with a cache of the same kind. The cached values stay here."""
    if exported(function) is not None:
        return function.__qualname__
    parameters = function.cache_parameters()
    return make_cached, (function.__wrapped__, parameters["maxsize"], parameters["typed"]), _attributes(function)


def make_cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """The function with an empty cache."""
    return functools.lru_cache(maxsize, typed)(function)


def is_single_dispatch(function: FunctionType) -> bool:
    """Whether `functools.singledispatch` made it."""
    return vars(function).keys() >= {"registry", "dispatch", "register", "__wrapped__"}


def reduce_single_dispatch(function: Any) -> Any:
    """A function with `functools.singledispatch`: the function below, and then what is registered for each type. Its cache of types
    holds weak references, which cannot be pickled."""
    state = dict(function.registry), {name: getattr(function, name) for name in NAMES} | _attributes(function)
    return functools.singledispatch, (function.__wrapped__,), state, None, None, set_single_dispatch


def set_single_dispatch(function: Any, state: tuple[dict[type[Any], Callable[..., Any]], dict[str, Any]]) -> None:
    """Register what was registered, and give the function its names."""
    registry, attributes = state
    _register(function, registry)
    for name, value in attributes.items():
        setattr(function, name, value)


def reduce_single_dispatch_method(found: functools.singledispatchmethod[Any]) -> Any:
    """A method with `functools.singledispatchmethod`, without the weak references that it has in some releases of Python."""
    return functools.singledispatchmethod, (found.func,), dict(found.dispatcher.registry), None, None, set_single_dispatch_method


def set_single_dispatch_method(method: functools.singledispatchmethod[Any], registry: dict[type[Any], Callable[..., Any]]) -> None:
    """Register what was registered."""
    _register(method.dispatcher, registry)


def _register(function: Any, registry: dict[type[Any], Callable[..., Any]]) -> None:
    for kind, implementation in registry.items():
        function.register(kind, implementation)


def reduce_cached_property(found: functools.cached_property[Any]) -> Any:
    """Without the lock that it has in Python 3.11."""
    return functools.cached_property, (found.func,), {"attrname": found.attrname}


def _attributes(function: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(function).items() if name not in MADE_ANEW}


def _named(make: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], Any]:
    """A reducer for what `typing` pickles by its name. make: the arguments of its type that make it again."""

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
"""By exact type."""
if (alias := getattr(typing, "TypeAliasType", None)) is not None:  # from Python 3.12
    REDUCERS[alias] = _named(lambda found: (found.__name__, found.__value__))
