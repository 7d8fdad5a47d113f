"""Functions that keep nothing from one call to the next, which a runner loads once for all jobs that send the same pickle.

A program that submits many small graphs sends the same functions each time, and to unpickle one and to look for what it draws random
numbers from takes longer than a short task. A function qualifies if all that it refers to is its arguments, builtins, imported modules and
constants, so that no job can see what another one did. One that may draw random numbers is prepared for each job, and so not kept here.
"""

from __future__ import annotations

import opcode
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from headrace.pickling.sources import locate

_CONSTANTS = frozenset({int, float, complex, bool, str, bytes, type(None)})
_REBINDING = {opcode.opmap[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL")}
_MAX_FUNCTIONS = 1_000
"""Functions that are kept; when there are more, the runner begins anew."""
_MAX_BYTES = 16 << 10
"""Size of a pickle up to which its function is kept."""

_functions: dict[bytes, FunctionType] = {}


def kept(pickled: bytes) -> Callable[..., Any] | None:
    """The function that was kept for this pickle. None if there is none, or its code belongs to another file than is registered now."""
    function = _functions.get(pickled)
    return function if function is not None and locate(function.__code__) is function.__code__ else None


def keep(pickled: bytes, function: Any) -> None:
    """Keep the function that was loaded from a pickle, if it is stateless."""
    if pickled and len(pickled) <= _MAX_BYTES and is_stateless(function):
        if len(_functions) >= _MAX_FUNCTIONS:
            _functions.clear()
        _functions[pickled] = function


def is_stateless(function: Any) -> bool:
    """Whether nothing that a call does can be seen in a later call through the function itself."""
    if type(function) is not FunctionType or function.__closure__ or function.__dict__ or function.__kwdefaults__:
        return False
    return all(type(value) in _CONSTANTS for value in function.__defaults__ or ()) and _is_stateless(
        function.__code__, function.__globals__
    )


def _is_stateless(code: CodeType, variables: dict[str, Any]) -> bool:
    if not _REBINDING.isdisjoint(code.co_code[::2]):
        return False
    for name in code.co_names:
        if name in variables and not _is_fixed(variables[name]):
            return False
    return all(_is_stateless(constant, variables) for constant in code.co_consts if type(constant) is CodeType)


def _is_fixed(value: Any) -> bool:
    """Whether it is a constant, or a module, which all jobs share anyway."""
    return type(value) in _CONSTANTS or (type(value) is ModuleType and sys.modules.get(value.__name__) is value)
