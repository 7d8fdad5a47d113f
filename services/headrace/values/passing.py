"""Passes values to several readers in one process, each as if it had come from another process.

The inputs of a task must not show changes that another task, or a failed attempt, made to them, and must not depend on whether their
producer ran in the same process just before. So a value is passed on

- unchanged, if nothing can change it: numbers, texts, None and tuples of such;
- as a read-only view, if it is a plain array that nothing else in the process refers to;
- otherwise as a pickle with read-only arrays beside it: each reader unpickles its own value over the same arrays.

An array that its producer still refers to, in a variable that outlives the task, is copied, because the producer may write to it again.
"""

from __future__ import annotations

import io
import pickle
import types
from sys import getrefcount
from typing import Any, Final

import numpy as np

from headrace.values.arrays import BUFFERED_KINDS, without_gaps
from headrace.values.decoding import decode
from headrace.values.encoding import encode
from headrace.values.layout import PICKLE_PROTOCOL
from headrace_shm import ArenaMap

_SCALARS: Final = frozenset(kind for kind in np.sctypeDict.values() if not issubclass(kind, np.flexible | np.object_))
_IMMUTABLE: Final = _SCALARS | {int, float, complex, bool, str, bytes, type(None), type(...), range, slice, np.str_, np.bytes_}
_CONTAINERS: Final = frozenset({tuple, frozenset})
SHARED_CODE: Final = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)


def is_immutable(value: object) -> bool:
    """Return whether nothing can change a value, nor its parts: true of exactly these types, not of subclasses.

    >>> is_immutable((1, ("a", None))), is_immutable((1, ["a"]))
    (True, False)
    """
    kind = type(value)
    return kind in _IMMUTABLE or (kind in _CONTAINERS and all(map(is_immutable, value)))  # type: ignore[call-overload]


class Passed:
    """A value as a pickle with its arrays beside it; `fresh` returns a new copy for each reader.

    >>> kept = {0: pass_on({"field": np.zeros(3)})}
    >>> settle(kept, 0)
    >>> one, other = read(kept[0]), read(kept[0])
    >>> one["more"] = 1
    >>> sorted(other), other["field"].flags.writeable
    (['field'], False)
    """

    __slots__ = ("buffers", "shared", "stream")

    def __init__(self, stream: bytes, buffers: list[Any], shared: list[Any] | None) -> None:
        self.stream = stream
        self.buffers = buffers
        self.shared = shared
        """Code that is passed unchanged, by its number in the pickle."""

    def fresh(self) -> Any:
        """Return a new value for a reader. Raises any exception that unpickling raises."""
        if self.shared is not None:
            return _Unpickler(self).load()
        return pickle.loads(self.stream, buffers=self.buffers)


class _Encoded(Passed):
    """A value that only cloudpickle can pickle."""

    __slots__ = ()

    def fresh(self) -> Any:
        return decode(self.stream)


class _Unpickler(pickle.Unpickler):
    def __init__(self, passed: Passed) -> None:
        super().__init__(io.BytesIO(passed.stream), buffers=passed.buffers)
        self._shared = passed.shared or []

    def persistent_load(self, pid: Any) -> Any:
        return self._shared[pid]


class _Pickler(pickle.Pickler):
    """A pickler that keeps code out of the pickle: code stays in the process and is shared."""

    def __init__(self, file: io.BytesIO, buffers: list[pickle.PickleBuffer], code: tuple[type, ...]) -> None:
        super().__init__(file, PICKLE_PROTOCOL, buffer_callback=buffers.append)
        self._code = code
        self.shared: list[Any] = []

    def persistent_id(self, value: Any) -> int | None:
        if not issubclass(type(value), self._code):
            return None
        self.shared.append(value)
        return len(self.shared) - 1


def pass_on(value: Any) -> Any:
    """Return what to keep of a task's result for readers in this process. Call `settle` on it once the caller has dropped the value.

    Raises NotPicklable for a value that could not leave the process either, and any other exception of its pickling.
    """
    if is_immutable(value):
        return value
    if type(value) is np.ndarray:
        value = without_gaps(value)
        if value.base is None and value.dtype.kind in BUFFERED_KINDS:
            return value
    try:
        return _pickled(value)
    except Exception:  # the error of `encode` below is the one to report
        pass
    try:
        return _sharing(value, (type,))
    except Exception:
        return _Encoded(encode(value).tobytes(), [], None)


def renewable(value: Any) -> Passed | None:
    """Return a value of the caller as one that each reader gets anew, with shared code. None if it cannot be pickled here."""
    try:
        passed = _pickled(value)
    except Exception:  # it has classes or functions that travelled by value, so no module has them
        try:
            passed = _sharing(value, SHARED_CODE)
        except Exception:
            return None
    passed.buffers = [buffer.raw().toreadonly() for buffer in passed.buffers]
    return passed


def settle(holder: dict[int, Any], key: int) -> None:
    """Protect the result of `pass_on` from its producer: copy arrays that something else still refers to.

    The holder has the result under `key`. Call this when only the holder refers to it.
    """
    kept = holder[key]
    if type(kept) is np.ndarray:
        del kept
        if _count(holder[key]) > _ALONE:
            holder[key] = holder[key].copy(order="K")
        holder[key].setflags(write=False)
    elif isinstance(kept, Passed):
        kept.buffers = [_own(buffer) for buffer in kept.buffers]


def read(kept: Any) -> Any:
    """Return a value for a reader from what was kept and settled. Raises any exception that unpickling raises."""
    if type(kept) is np.ndarray:
        return kept.view()
    return kept.fresh() if isinstance(kept, Passed) else kept


def _own(buffer: pickle.PickleBuffer) -> memoryview:
    """Return the read-only bytes of an array that only its buffer refers to, or a copy of any other array."""
    if _is_constant(buffer.raw().obj) or (_count(buffer.raw().obj) <= _ALONE and _is_private(buffer.raw().obj)):
        return buffer.raw().toreadonly()
    return np.array(buffer.raw(), np.uint8).data.toreadonly()


def _is_private(node: Any) -> bool:
    """Return whether no other object leads to the memory of an array that nothing else refers to."""
    if not isinstance(node, np.ndarray):
        return False
    if node.base is None:
        return True
    if isinstance(node.base, np.ndarray):
        return _is_constant(node.base) or (_count(node.base) <= _ALONE and _is_private(node.base))
    return type(_root(node.base)) is ArenaMap  # allocated in the host's store by `headrace.empty`


def _is_constant(array: Any) -> bool:
    """Return whether nobody writes to an array's memory: it is an input in the host's store, or in a message."""
    base = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    if type(base) is memoryview and not base.readonly:
        return False
    root: Any = _root(base)
    return type(root) in (bytes, ArenaMap) or (type(root) is np.ndarray and not root.flags.writeable)


def _root(base: Any) -> Any:
    """Return the object that a memoryview is of."""
    return base.obj if type(base) is memoryview else base


def _count(node: object) -> int:
    """Count the references to an object, for comparison with `_ALONE`."""
    return getrefcount(node)


def _calibrate() -> int:
    """Return what `_count` gives for an object that one other object refers to. It differs between releases of Python."""
    holder = {0: np.empty(1)}
    return _count(holder[0])


_ALONE: Final = _calibrate()


def _pickled(value: Any) -> Passed:
    buffers: list[pickle.PickleBuffer] = []
    return Passed(pickle.dumps(value, PICKLE_PROTOCOL, buffer_callback=buffers.append), buffers, None)


def _sharing(value: Any, code: tuple[type, ...]) -> Passed:
    file, buffers = io.BytesIO(), []  # type: ignore[var-annotated]
    pickler = _Pickler(file, buffers, code)
    pickler.dump(value)
    return Passed(file.getvalue(), buffers, pickler.shared)
