"""Functions without state, which a runner loads once for all jobs that send the same pickle.

A program that submits many small graphs sends the same functions each time. To unpickle one and to find out whether it draws random numbers
takes longer than a short task. A function qualifies if it refers only to its arguments, builtins, imported modules and constants, so that
no job sees what another job did. A function that may draw random numbers is prepared for each job, and not kept here.
"""

from __future__ import annotations

import opcode
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from headrace.callables import CONSTANTS, codes_in, is_imported_module
from headrace.pickling.sources import locate

_REBINDING = {opcode.opmap[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL")}
_MAX_FUNCTIONS = 1_000
"""Number of functions that are kept. When there are more, the runner forgets all of them."""
_MAX_BYTES = 16 << 10
"""Size of the largest pickle whose function is kept."""

_functions: dict[bytes, FunctionType] = {}


def kept(pickled: bytes) -> Callable[..., Any] | None:
    """Return the function that was kept for this pickle. None if there is none, or if another file is registered now."""
    function = _functions.get(pickled)
    return function if function is not None and locate(function.__code__) is function.__code__ else None


def keep(pickled: bytes, function: Any) -> None:
    """Keep the function that was loaded from a pickle, if it is stateless."""
    if pickled and len(pickled) <= _MAX_BYTES and is_stateless(function):
        if len(_functions) >= _MAX_FUNCTIONS:
            _functions.clear()
        _functions[pickled] = function


def is_stateless(function: Any) -> bool:
    """Return whether no call can see, through the function itself, what an earlier call did."""
    if type(function) is not FunctionType or function.__closure__ or function.__dict__ or function.__kwdefaults__:
        return False
    variables = function.__globals__
    return all(type(value) in CONSTANTS for value in function.__defaults__ or ()) and all(
        _keeps_nothing(code, variables) for code in codes_in(function.__code__)
    )


def _keeps_nothing(code: CodeType, variables: dict[str, Any]) -> bool:
    if not _REBINDING.isdisjoint(code.co_code[::2]):
        return False
    return all(_is_fixed(variables[name]) for name in code.co_names if name in variables)


def _is_fixed(value: Any) -> bool:
    """Return whether a value is a constant, or a module, which all jobs share anyway."""
    return type(value) in CONSTANTS or is_imported_module(value)
