"""Inspects callables: the name, the plain function under wrappers, whether it yields, and the module that exports it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import BuiltinMethodType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

CONSTANTS = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Types whose values never change and refer to nothing."""

_MAIN = frozenset({"__main__", "__mp_main__"})
"""Modules that differ from process to process."""

_CALL = "__call__"
"""The name of the method of calls, which must be looked up on the type, as Python does."""


class Wrapper:
    """Base class of objects that stand for a plain function on the user's side, with the options of its tasks.

    `unwrap` returns the function. label: the prefix of its tasks' names. outputs: how many datasets they make, or the metadata of each;
    None if not given. retries: how often a task that raised is retried. resources: amounts that a task needs of its host.
    """

    function: Callable[..., Any]
    label: str
    outputs: int | Sequence[dict[str, Any]] | None
    retries: int
    resources: Mapping[str, float]


def unwrap(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the plain function under `hr.task`, also inside a functools.partial or a bound method; any other callable unchanged."""
    while isinstance(function, Wrapper):
        function = function.function
    if type(function) is functools.partial:
        inner = unwrap(function.func)
        return function if inner is function.func else functools.partial(inner, *function.args, **function.keywords)
    if type(function) is MethodType:
        inner = unwrap(function.__func__)
        return function if inner is function.__func__ else MethodType(inner, function.__self__)
    return function


def function_name(function: Any) -> str:
    """Return the prefix of the names of a callable's tasks: its label, its `__name__`, or that of a partial's function or of its class."""
    if isinstance(function, Wrapper):
        return function.label
    if isinstance(function, functools.partial):
        return function_name(function.func)
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or not name:
        return type(function).__name__
    return "lambda" if name == "<lambda>" else name


def yields(function: Callable[..., Any]) -> bool:
    """Return whether a call returns a generator.

    Recognises generator functions, also if they are decorated, in a partial, a method, or an object's `__call__`.
    """
    plain = unwrap(function)
    if type(plain) is FunctionType:  # the usual case; the checks below take longer than adding a task
        return bool(plain.__code__.co_flags & inspect.CO_GENERATOR)
    return inspect.isgeneratorfunction(plain) or inspect.isgeneratorfunction(getattr(type(plain), _CALL, None))


def identity(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Equal for callables that are the same one: a bound method is made anew each time it is looked up, but its parts are not.

    Holds while the callable is alive.
    """
    while isinstance(function, Wrapper):
        function = function.function
    if isinstance(function, MethodType):
        return id(function.__self__), id(function.__func__)
    if isinstance(function, BuiltinMethodType):
        return id(function.__self__), function.__name__
    return (id(function),)


def find_attribute(module: Any, qualname: str) -> Any:
    """Return the object that a module exports under a dotted name. Raises AttributeError, which names the missing part."""
    found = module
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def exported(function: Any) -> tuple[str, str] | None:
    """Return module and qualified name by which another process can import a callable; None if it cannot.

    None for a callable in `__main__` or inside a function, for one whose name gives another object in its module, and for modules that the
    user registered with `cloudpickle.register_pickle_by_value`.
    """
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or "<" in qualname:
        return None
    if module in _MAIN or module not in sys.modules or _by_value(module):
        return None
    try:
        found = find_attribute(sys.modules[module], qualname)
    except AttributeError:
        return None
    return (module, qualname) if found is function or unwrap(found) is unwrap(function) else None


def _by_value(module: str) -> bool:
    cloudpickle = sys.modules.get("cloudpickle")
    registered = cloudpickle.list_registry_pickle_by_value() if cloudpickle is not None else ()
    return any(module == name or module.startswith(f"{name}.") for name in registered)


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object, and those of the functions that are defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def is_imported_module(value: Any) -> bool:
    """Return whether a value is a module that this process finds under its name."""
    return type(value) is ModuleType and sys.modules.get(value.__name__) is value
