"""The two hashes of a graph: one of its shape, which a plan depends on, and one of all its content.

Equal content hashes mean the same tasks, arguments and code of the graph's own functions. If a function travels by name, the code that it
calls is not hashed. The same program may give another content hash in another process, if equal objects have different pickles (sets,
shared strings).
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

from headrace.callables import unwrap
from headrace.graph.topology import Topology
from headrace_schemas.graph import FunctionSpec

_NO_DEFAULTS = pickle.dumps((None, None), 5)


def shape_hash(topology: Topology, functions: list[FunctionSpec]) -> str:
    """Return the hex SHA-256 of a graph without its code and arguments.

    It covers topology, requested outputs, identities of functions (module and qualified name, or the name if there is none), and the
    resources that they need.
    """
    identities = [(spec.module, spec.qualname or spec.name, spec.generator, *sorted(spec.resources.items())) for spec in functions]
    columns = _ONE_TASK if topology is Topology.of_one_task() else _columns(topology)
    return _sha256(*_framed([msgspec.json.encode(identities)]), *columns)


def content_hash(shape: str, functions: Iterable[bytes], blocks: Iterable[bytes]) -> str:
    """Return the hex SHA-256 of the shape hash, the code of each function and the blocks of arguments."""
    return _sha256(*_framed([shape.encode(), *functions, b"blocks"]), *_framed(blocks))


def code_bytes(spec: FunctionSpec, function: Callable[..., Any]) -> bytes:
    """Return the bytes that identify what a function does: its pickle, or the bytecode and default arguments of one that travels by name.

    Empty for compiled functions, which have neither.
    """
    if spec.pickled:
        return spec.pickled
    plain = unwrap(function)
    code = getattr(plain, "__code__", None)
    return b"" if code is None else _text(code) + _defaults(plain)


@lru_cache(maxsize=1000)
def _text(code: CodeType) -> bytes:
    """Return the bytes of a code object.

    They are cached, because code objects never change, and programs submit the same functions again and again.
    """
    return repr(_code(code)).encode()


def _code(code: CodeType) -> tuple[Any, ...]:
    """Return the parts of a code object that decide what it does; file names and line numbers do not."""
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
    except Exception:  # defaults that cannot be pickled do not travel, and have no bytes to compare
        return b""


def _columns(topology: Topology) -> list[bytes]:
    columns: list[npt.NDArray[Any]] = [topology.function, topology.first_output, topology.input_start, topology.inputs]
    columns.append(np.flatnonzero(topology.is_output))
    return _framed([column.astype("<i8").tobytes() for column in columns])


def _framed(parts: Iterable[bytes]) -> list[bytes]:
    """Prefix each part with its length, so that two different lists of parts never give the same bytes."""
    return [piece for part in parts for piece in (len(part).to_bytes(8, "little"), part)]


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


_ONE_TASK = [b"".join(_columns(Topology.of_one_task()))]
