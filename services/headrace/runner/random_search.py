"""Finds the random generators that a function reaches, by its code: in its variables, and in the functions and objects that it names.

Where the code does not tell (it calls methods of objects, or code that is not Python), the search is not `certain` to have found all.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from headrace.callables import unwrap
from headrace.graph.generators import is_generator
from headrace.runner.random_states import global_generators, numpy_random

_MOST = 300
"""Number of functions, classes and objects that a search looks at."""
_MOST_ITEMS = 50
"""Number of items of a container, or attributes of an object, that a search looks at."""
_SAFE = frozenset(sys.stdlib_module_names) - {"random"} | {"builtins", "numpy", "headrace"}
"""Packages whose code draws from no global generator. `numpy.random` is treated on its own."""
_COMPILED = frozenset({"cython_function_or_method", "method-wrapper", "ufunc", "_ArrayFunctionDispatcher"})
"""Names of types of functions that are not written in Python."""
_LIBRARIES = ("site-packages", "dist-packages")
"""Folders in which packages are installed."""
_DYNAMIC = frozenset({"eval", "exec", "__import__", "getattr", "globals", "vars"})
"""Builtins through which code reaches objects that it does not name."""


class RandomSearch:
    """The generators that a function reaches, and whether these are certainly all. The search raises nothing."""

    def __init__(self, function: Any) -> None:
        self.generators: list[Any] = []
        self.certain = True
        self._seen: dict[int, Any] = {}
        self._own = _package(function)
        try:
            self._visit(function, ())
            if not isinstance(function, FunctionType | MethodType | BuiltinFunctionType | type | functools.partial):
                self._visit(type(function), ())
        except BaseException:  # users' objects may raise anything when they are looked at
            self.certain = False
        self.generators = distinct(self.generators)

    def _visit(self, value: Any, names: Iterable[str]) -> None:
        """Search a value. names: all names in the code that names the value; some are attributes of the value."""
        value = unwrap(value)
        if isinstance(value, ModuleType):
            self._module(value, names)
            return
        if id(value) in self._seen:
            return
        if len(self._seen) >= _MOST:
            self.certain = False
            return
        self._seen[id(value)] = value
        self._value(value)

    def _value(self, value: Any) -> None:
        kind = type(value)
        if kind is FunctionType:
            self._function(value)
        elif kind is MethodType:
            self._visit(value.__func__, ())
            self._visit(value.__self__, ())
        elif kind is BuiltinFunctionType or kind.__name__ in _COMPILED:
            self._builtin(value)
        elif kind is functools.partial:
            for part in (value.func, *value.args, *value.keywords.values()):
                self._visit(part, ())
        elif isinstance(value, type):
            self._class(value)
        elif _is_generator(value):
            self.generators.append(value)
        else:
            self._object(value)

    def _function(self, function: FunctionType) -> None:
        if self._is_users(function.__module__):
            self._code(function.__code__, function.__globals__)
        for cell in function.__closure__ or ():
            try:
                self._visit(cell.cell_contents, ())
            except ValueError:  # the variable is not bound
                continue
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._visit(default, ())

    def _code(self, code: CodeType, variables: dict[str, Any]) -> None:
        for name in code.co_names:
            if name in variables:
                self._visit(variables[name], code.co_names)
            elif name in ("random", "numpy.random"):  # imported in the function, or an attribute of that name
                self.generators += global_generators()
            elif name in _DYNAMIC or name not in _BUILTINS:
                self.certain = False
        for constant in code.co_consts:
            if type(constant) is CodeType:
                self._code(constant, variables)

    def _module(self, module: ModuleType, names: Iterable[str]) -> None:
        if module.__name__ in ("random", "numpy.random"):
            held = vars(module)
            self.generators += [
                found for name in names for found in global_generators() if getattr(held.get(name), "__self__", None) is found
            ]
        elif module.__name__ == "numpy":
            if "random" in names:
                self._module(sys.modules.get("numpy.random") or numpy_random(), names)
        elif self._is_users(module.__name__):
            held = vars(module)
            for name in names:
                if name in held:
                    self._visit(held[name], names)
                elif name == "random":
                    self.generators += global_generators()

    def _is_users(self, module: str | None) -> bool:
        """Return whether the code of a module is searched. Installed libraries are not: they may be large."""
        package = (module or "").partition(".")[0]
        if package in _SAFE:
            return False
        if package != self._own and any(folder in str(getattr(sys.modules.get(package), "__file__", "")) for folder in _LIBRARIES):
            self.certain = False
            return False
        return True

    def _builtin(self, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        if type(function).__name__ == "ufunc":
            self.certain = self.certain and getattr(sys.modules["numpy"], function.__name__, None) is function  # else frompyfunc made it
            return
        if isinstance(owner, ModuleType) or owner is None:
            self.certain = self.certain and _package(function) in _SAFE
        else:
            self._visit(owner, ())

    def _class(self, kind: type) -> None:
        if not self._is_users(kind.__module__):
            return
        for member in vars(kind).values():
            plain = getattr(member, "__func__", member)
            if type(plain) is FunctionType:
                self._visit(plain, ())
        for base in kind.__bases__:
            self._visit(base, ())

    def _object(self, value: Any) -> None:
        items: Iterable[Any] = ()
        if isinstance(value, dict):
            items = value.values()
        elif isinstance(value, list | tuple):
            items = value
        elif _package(type(value)) not in _SAFE:
            self.certain = False
            items = getattr(value, "__dict__", {}).values()
        elif callable(value):  # functools.cache, numpy.vectorize and the like
            items = [held for held in getattr(value, "__dict__", {}).values() if callable(held)]
        for item, _ in zip(items, range(_MOST_ITEMS), strict=False):
            if _is_generator(item) or isinstance(item, dict | list | tuple) or callable(item) or _package(type(item)) not in _SAFE:
                self._visit(item, ())


_BUILTINS = frozenset(vars(__import__("builtins")))


def _package(thing: Any) -> str:
    return str(getattr(thing, "__module__", None) or "").partition(".")[0]


def _is_generator(value: Any) -> bool:
    return is_generator(type(value))


def distinct(values: list[Any]) -> list[Any]:
    """Return the objects in their order, each once."""
    return list({id(value): value for value in values}.values())
