"""Random numbers of tasks: distinct for each task, and the same whenever the task runs again.

Runners are copies of one process, and a generator that travels with a function is a copy in each of them: left alone, they would draw the
same numbers in several tasks. So before a task whose function reaches a generator (NumPy's and Python's global ones, or one in its
variables, its method's object or its partial's arguments), that is given a state derived from the graph's hash and the task's number.

Whether a function reaches one is looked up once, in its code and in the functions that it names. Where that cannot be known (it calls
methods of objects, or code that is not Python), the first task is treated as if it did, and after each task it is seen whether the global
generators were drawn from; from then on the function is one that reaches them.
"""

from __future__ import annotations

import ctypes
import functools
import random
import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from headrace.callables import unwrap
from headrace.graph.generators import is_generator

if TYPE_CHECKING:
    from headrace.runner.waiting import Suspended

_MOST = 300
"""Functions, classes and objects that are looked at for one function."""
_MOST_ITEMS = 50
"""Items of a container, or attributes of an object, in which a generator is looked for."""
_SAFE = frozenset(sys.stdlib_module_names) - {"random"} | {"builtins", "numpy", "headrace"}
"""Packages whose code draws from no global generator (numpy.random is another matter)."""
_COMPILED = frozenset({"cython_function_or_method", "method-wrapper", "ufunc", "_ArrayFunctionDispatcher"})
"""Types of other functions that are not Python."""
_LIBRARIES = ("site-packages", "dist-packages")
"""Folders that packages are installed in."""
_DYNAMIC = frozenset({"eval", "exec", "__import__", "getattr", "globals", "vars"})
"""Builtins through which code can reach what it does not name."""


class Randomness:
    """The generators that the tasks of one function draw from.

    seed: of the job. generators: those that the function reaches. certain: whether these are all. renewed: the function is made anew for
    each task, and with it a generator that is among its partial's arguments.
    """

    def __init__(self, seed: int, generators: list[Any], certain: bool, renewed: bool) -> None:
        self._seed = seed
        self._renewed = renewed
        self._reached = generators
        self._watched = [] if certain else [each for each in _globals() if not any(each is reached for reached in generators)]
        self._first = True

    def begin(self, task: int, function: Callable[..., Any]) -> None:
        """A task of the function is about to be executed."""
        if self._reached or self._first or self._renewed:
            generators = [*self._reached, *(self._watched if self._first else ()), *(_Scan(function).generators if self._renewed else ())]
            for index, generator in enumerate(_distinct(generators)):
                _set(generator, self._seed, task, index)
            self._first = False
            _watch.last = None
        if self._watched and _watch.last is None:
            _watch.last = _watch.positions()

    def end(self) -> None:
        """It was, or it has yielded."""
        if self._watched and (now := _watch.positions()) != _watch.last:
            _watch.last = now
            self._reached, self._watched = [*self._reached, *self._watched], []

    def suspend(self, generator: Suspended) -> None:
        """Other tasks are executed before this one goes on."""
        self.end()
        generator.random_states = [(each, _get(each)) for each in self._reached]

    def resume(self, generator: Suspended) -> None:
        """It goes on."""
        for each, state in generator.random_states:
            _put(each, state)
        _watch.last = _watch.positions() if self._watched else None


def randomness(function: Callable[..., Any], content_hash: str, renewed: bool) -> Randomness | None:
    """What there is to do before tasks of a function; None if it reaches no generator. renewed: it is made anew for each task."""
    scan = _Scan(function)
    if scan.certain and not scan.generators:
        return None
    return Randomness(int(content_hash or "0", 16), scan.generators, scan.certain, renewed)


# --- what a function reaches ------------------------------------------------------------------------------------------


class _Scan:
    """Finds the generators that a function reaches by its code. Never raises."""

    def __init__(self, function: Any) -> None:
        self.generators: list[Any] = []
        self.certain = True
        self._seen: dict[int, Any] = {}
        self._own = _package(function)
        try:
            self._visit(function, ())
            if not isinstance(function, FunctionType | MethodType | BuiltinFunctionType | type | functools.partial):
                self._visit(type(function), ())
        except BaseException:  # what users' objects may raise when they are looked at
            self.certain = False
        self.generators = _distinct(self.generators)

    def _visit(self, value: Any, names: Iterable[str]) -> None:
        """names: those that the code which names the value also names, among them its attributes."""
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
            except ValueError:  # it is not bound
                continue
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._visit(default, ())

    def _code(self, code: CodeType, variables: dict[str, Any]) -> None:
        for name in code.co_names:
            if name in variables:
                self._visit(variables[name], code.co_names)
            elif name in ("random", "numpy.random"):  # imported in the function, or an attribute of that name
                self.generators += _globals()
            elif name in _DYNAMIC or name not in _BUILTINS:
                self.certain = False
        for constant in code.co_consts:
            if type(constant) is CodeType:
                self._code(constant, variables)

    def _module(self, module: ModuleType, names: Iterable[str]) -> None:
        if module.__name__ in ("random", "numpy.random"):
            held = vars(module)
            self.generators += [found for name in names for found in _globals() if getattr(held.get(name), "__self__", None) is found]
        elif module.__name__ == "numpy":
            if "random" in names:
                self._module(sys.modules.get("numpy.random") or _numpy_random(), names)
        elif self._is_users(module.__name__):
            held = vars(module)
            for name in names:
                if name in held:
                    self._visit(held[name], names)
                elif name == "random":
                    self.generators += _globals()

    def _is_users(self, module: str | None) -> bool:
        """Whether code of a module is looked at. Not that of installed libraries, which may be large, and are not the function's own: what
        that draws from is watched."""
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
            self.certain = self.certain and getattr(sys.modules["numpy"], function.__name__, None) is function  # else frompyfunc's
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


def _distinct(values: list[Any]) -> list[Any]:
    return list({id(value): value for value in values}.values())


# --- their states -----------------------------------------------------------------------------------------------------


def _numpy_random() -> Any:
    import numpy.random  # takes some milliseconds, and many graphs do without

    return numpy.random


@functools.cache
def _globals() -> tuple[Any, ...]:
    """Python's global generator and NumPy's."""
    return random._inst, _numpy_random().mtrand._rand


def _set(generator: Any, seed: int, task: int, index: int) -> None:
    """Give a generator the state that is this task's."""
    sequence = _numpy_random().SeedSequence(seed, spawn_key=(task, index))
    if isinstance(generator, random.Random):
        generator.seed(int.from_bytes(sequence.generate_state(8).tobytes(), "little"))
        return
    bits = _bits(generator)
    if hasattr(generator, "get_state") and type(bits) is _numpy_random().MT19937:  # a RandomState, which also keeps a number drawn ahead
        generator.seed(sequence.generate_state(8))
    else:
        bits.state = type(bits)(sequence).state


def _bits(generator: Any) -> Any:
    """The bit generator of one of NumPy's generators."""
    return getattr(generator, "bit_generator", None) or getattr(generator, "_bit_generator", generator)


def _get(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state(legacy=False) if hasattr(generator, "get_state") else _bits(generator).state


def _put(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif hasattr(generator, "set_state"):
        generator.set_state(state)
    else:
        _bits(generator).state = state


# --- whether they were drawn from -------------------------------------------------------------------------------------

_WORDS = 624
"""Of a Mersenne Twister's state. Its position is beside them, and changes with each draw; the words do at every 624th."""


class _Watch:
    """The positions and first words of the global generators, read where they lie in memory: to ask for a state takes 20 µs.

    last: as they were when a task ended that may have drawn; None if some task may have drawn since.
    """

    def __init__(self) -> None:
        self.last: tuple[int, ...] | None = None
        self._numpys: Any = None
        self._pythons: Any = None

    def positions(self) -> tuple[int, ...]:
        """Numbers that differ once a global generator was drawn from."""
        if self._numpys is None:
            self._open()
        numpys, pythons = self._numpys, self._pythons
        return numpys[0], numpys[_WORDS], pythons[0], pythons[1]

    def _open(self) -> None:
        own, numpys = _globals()
        self._numpys = _words(numpys._bit_generator.ctypes.state_address)
        found = _words(id(own) + object.__basicsize__)
        state = own.getstate()[1]
        self._pythons = found if (*found[1:], found[0]) == state else (0, 0)  # a Python that keeps it in another way


def _words(address: int) -> Any:
    return memoryview((ctypes.c_uint32 * (_WORDS + 1)).from_address(address)).cast("B").cast("I")


_watch = _Watch()
