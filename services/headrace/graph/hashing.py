"""Two names for a graph: one for its shape, which a plan depends on, and one for all of its content.

Equal content hashes mean the same tasks, arguments and code, as far as the code is in the graph's own functions: what a function that
travels by name calls in turn is not looked at. The same program may give another content hash in another process, where a pickle of equal
objects differs (sets, shared strings).
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from headrace.graph.callables import unwrap
from headrace.graph.topology import Topology
from headrace_schemas.graph import FunctionSpec

_NO_DEFAULTS = pickle.dumps((None, None), 5)


def shape_hash(topology: Topology, functions: list[FunctionSpec]) -> str:
    """Hex SHA-256 of topology, asked-for outputs and functions' identities: module and qualified name, or the name where there is none, and
    what they need of a host, for a plan depends on that."""
    identities = [(spec.module, spec.qualname or spec.name, spec.generator, *sorted(spec.resources.items())) for spec in functions]
    columns = _ONE_TASK if topology is Topology.of_one_task() else _columns(topology)
    return _sha256(*_framed([msgspec.json.encode(identities)]), *columns)


def content_hash(shape: str, functions: Iterable[bytes], blocks: Iterable[bytes]) -> str:
    """Hex SHA-256 of the shape hash, the code of each function and the blocks of arguments."""
    return _sha256(*_framed([shape.encode(), *functions, b"blocks"]), *_framed(blocks))


def code_bytes(spec: FunctionSpec, function: Callable[..., Any]) -> bytes:
    """What a function does, as bytes: its pickle, or the bytecode and default arguments of one that travels by name.

    Empty for compiled ones, which have neither.
    """
    if spec.pickled:
        return spec.pickled
    plain = unwrap(function)
    code = getattr(plain, "__code__", None)
    return b"" if code is None else _text(code) + _defaults(plain)


@lru_cache(maxsize=1000)
def _text(code: CodeType) -> bytes:
    """A code object, which never changes, as bytes. Programs submit the same functions again and again."""
    return repr(_code(code)).encode()


def _code(code: CodeType) -> tuple[Any, ...]:
    """The parts of a code object that decide what it does; file names and line numbers do not."""
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, [_constant(value) for value in code.co_consts]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _code(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)  # a set's order changes from process to process


def _defaults(function: Any) -> bytes:
    if function.__defaults__ is None is function.__kwdefaults__:
        return _NO_DEFAULTS
    try:
        return pickle.dumps((function.__defaults__, function.__kwdefaults__), 5)
    except Exception:  # defaults that cannot be pickled stay where the function is; they have no bytes to compare
        return b""


def _columns(topology: Topology) -> list[bytes]:
    columns: list[npt.NDArray[Any]] = [topology.function, topology.first_output, topology.input_start, topology.inputs]
    columns.append(np.flatnonzero(topology.is_output))
    return _framed([column.astype("<i8").tobytes() for column in columns])


def _framed(parts: Iterable[bytes]) -> list[bytes]:
    """Each with its length in front, so that no two lists of parts run together into the same bytes."""
    return [piece for part in parts for piece in (len(part).to_bytes(8, "little"), part)]


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


_ONE_TASK = [b"".join(_columns(Topology.of_one_task()))]
