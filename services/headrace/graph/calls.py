"""Checks that a function can be called the way its task will call it, as far as its signature shows."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from headrace.callables import function_name, unwrap
from headrace.errors import GraphError

_CachedFunction: type[Any] = type(functools.cache(len))
_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def check_callable(function: Any) -> None:
    """Raise TypeError for an object that cannot be called, and GraphError for an async function, which would have to be awaited."""
    if not callable(function):
        raise TypeError(f"{function!r:.80} cannot be called: give a function or another callable")
    code = function if type(function) is FunctionType else _plain(function)
    if type(code) is FunctionType and code.__code__.co_flags & _ASYNC:
        name = function_name(function)
        raise GraphError(
            f"{name!r} is an async function, which a task cannot await. Give a plain function that runs it, "
            f"like `lambda *args: asyncio.run({name}(*args))`"
        )


def _plain(function: Any) -> Any:
    """Return the Python function behind a partial, a method, a cache, or an object with `__call__`."""
    found = unwrap(function)
    while True:
        if type(found) is functools.partial:
            found = unwrap(found.func)
        elif type(found) is MethodType:
            found = unwrap(found.__func__)
        elif type(found) is _CachedFunction:
            found = found.__wrapped__  # type: ignore[attr-defined]
        elif type(found) is FunctionType or inspect.isclass(found):
            return found
        else:
            return vars(type(found)).get("__call__")


class Calls:
    """The calls that a function accepts: numbers of positional arguments, and names of keyword arguments. Each call is checked once.

    counts: numbers of positional arguments that are known to be valid for a call without keywords.
    """

    __slots__ = ("_function", "_shapes", "_signature", "counts")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._signature: inspect.Signature | None = None
        self._shapes: set[tuple[Any, ...]] = set()
        self.counts: set[int] = set()

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise GraphError for a call that the function's signature does not allow. Without a known signature, any call is allowed."""
        if kwargs:
            self._check_names(args, kwargs)
        elif len(args) not in self.counts:
            if not _takes(self._function, len(args)):
                self._bind(args, kwargs)
            self.counts.add(len(args))

    def _check_names(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shape = (len(args), *kwargs)
        if shape not in self._shapes:
            self._bind(args, kwargs)
            self._shapes.add(shape)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._signature is None:
            self._signature = _signature(self._function)
        if self._signature is None:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            name = function_name(self._function)
            raise GraphError(f"a task cannot call {name!r} with these arguments: {error}. It is {name}{_shown(self._signature)}") from None


def _takes(function: Any, count: int) -> bool:
    """Return whether a plain function can be called with `count` positional arguments and no others.

    For many functions with one task each, reading their code is faster than building their signatures.
    """
    if type(function) is not FunctionType:
        return False
    code = function.__code__
    least, most = code.co_argcount - len(function.__defaults__ or ()), code.co_argcount
    keywords = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    return not keywords and least <= count and (count <= most or bool(code.co_flags & inspect.CO_VARARGS))


def _signature(function: Any) -> inspect.Signature | None:
    """Return the signature of the function itself, not of the one that it wraps, because a decorator may add arguments.

    None if it is not known.
    """
    plain = unwrap(function)
    while type(plain) is _CachedFunction:
        plain = plain.__wrapped__  # type: ignore[attr-defined]
    if hasattr(plain, "__signature__"):  # set by hand, so it may differ from what the function accepts
        return None
    try:
        return inspect.signature(plain, follow_wrapped=False)
    except (ValueError, TypeError):
        return None


def _shown(signature: inspect.Signature) -> str:
    parameters = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return f"{signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)!s:.200}"
