"""Encodes values. A value is pickled once, and its buffers are copied once, straight to their destination."""

import pickle
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

import numpy as np

from headrace.errors import NotPicklable
from headrace.pickling import by_value
from headrace.values.arrays import without_gaps
from headrace.values.layout import ALIGNMENT, LAYOUT_MARK, PICKLE_PROTOCOL, PREFIX, aligned, lengths_format
from headrace.values.owning import is_own

_BY_REFERENCE_TO_MAIN: Final = b"__main__"
PLAIN_TYPES: Final = frozenset({int, float, bool, type(None)})
"""The types that `encode_plain` accepts, without subclasses."""
_PADDING: Final = bytes(ALIGNMENT)


class Encoded:
    """An encoded value that is ready to be written.

    It holds views of the value's own arrays until it is dropped; they must not change before they are written. If they might, `make_own`
    copies them.

    `nbytes` is the size of the whole encoding in bytes.
    """

    __slots__ = ("_head", "_views", "nbytes")

    def __init__(self, head: bytes, views: tuple[memoryview, ...], nbytes: int) -> None:
        self._head = head
        self._views = views
        self.nbytes = nbytes

    def write_into(self, destination: memoryview) -> None:
        """Write the encoding at the start of `destination`, each buffer by one copy from its source.

        `destination` is writable, contiguous, and at least `nbytes` bytes long; bytes beyond that do not change. Raises `ValueError` if it
        is shorter.
        """
        target = destination if destination.format == "B" and destination.ndim == 1 else destination.cast("B")
        if target.nbytes < self.nbytes:
            raise ValueError(f"the value needs {self.nbytes} bytes, but the destination has {target.nbytes}: reserve `nbytes` bytes for it")
        end = len(self._head)
        target[:end] = self._head
        for view in self._views:
            start = aligned(end)
            target[end:start] = _PADDING[: start - end]
            end = start + view.nbytes
            target[start:end] = view

    @property
    def only_buffer(self) -> memoryview | None:
        """The value's one large buffer; None if it has none, or several."""
        return self._views[0] if len(self._views) == 1 else None

    def write_before(self, room: memoryview) -> bool:
        """Complete the encoding around `only_buffer`, in place: `room` is the memory in front of the buffer, a multiple of 64 bytes.

        Returns False, and writes nothing, if the room is too small.
        """
        if len(self._head) > room.nbytes:
            return False
        room[: len(self._head)] = self._head
        room[len(self._head) :] = bytes(room.nbytes - len(self._head))
        PREFIX.pack_into(room, 0, LAYOUT_MARK, 1, room.nbytes - PREFIX.size - lengths_format(1).size)
        return True

    def make_own(self) -> None:
        """Copy the buffers whose memory something else refers to, so that no change to the value's arrays changes the encoding.

        Call this once nothing refers to the value itself any more. Arrays that only the encoding refers to are not copied.
        """
        self._views = tuple(view if is_own(view) else memoryview(bytes(view)) for view in self._views)

    def tobytes(self) -> bytes:
        """Return the encoding as one bytes object: for small values that travel inline."""
        if not self._views:
            return self._head
        whole = bytearray(self.nbytes)
        self.write_into(memoryview(whole))
        return bytes(whole)


def encode_plain(value: object) -> bytes:
    """Encode a value of one of `PLAIN_TYPES` as `encode` would, at a third of the cost.

    >>> encode_plain(3) == encode(3).tobytes()
    True
    """
    return pickle.dumps(value, PICKLE_PROTOCOL)


def encode(value: object) -> Encoded:
    """Pickle a value, and keep its large buffers out of band; see `headrace.values.layout` for the bytes.

    If pickle fails (lambdas, local classes), or would refer to ``__main__``, which is another module in the process that reads the value,
    cloudpickle pickles it by value.

    >>> encode(3).nbytes
    5

    Raises `NotPicklable` if neither can; the original error is its cause.
    """
    buffers: list[pickle.PickleBuffer] = []
    if type(value) is np.ndarray:
        value = without_gaps(value)
    try:
        stream = pickle.dumps(value, protocol=PICKLE_PROTOCOL, buffer_callback=buffers.append)
    except MemoryError:
        raise
    except Exception:  # a value's own __reduce__ may raise anything; cloudpickle raises it again if it matters
        return _encode_by_value(value)
    if _BY_REFERENCE_TO_MAIN in stream:
        return _encode_by_value(value)
    if not buffers:
        return Encoded(stream, (), len(stream))
    return _lay_out(value, stream, buffers)


def _encode_by_value(value: object) -> Encoded:
    buffers: list[pickle.PickleBuffer] = []
    try:
        stream = by_value.dumps(value, buffers.append)
    except MemoryError:
        raise
    except Exception as error:
        raise _not_picklable(value, error) from error
    return _lay_out(value, stream, buffers) if buffers else Encoded(stream, (), len(stream))


def _lay_out(value: object, stream: bytes, buffers: list[pickle.PickleBuffer]) -> Encoded:
    try:
        views = tuple(buffer.raw() for buffer in buffers)
    except BufferError as error:  # the object exports a buffer with gaps
        raise _not_picklable(value, error) from error
    lengths = lengths_format(len(views)).pack(*(view.nbytes for view in views))
    head = PREFIX.pack(LAYOUT_MARK, len(views), len(stream)) + lengths + stream
    end = len(head)
    for view in views:
        end = aligned(end) + view.nbytes
    return Encoded(head, views, end)


_REMEDIES: Final[dict[type[Any], str]] = {
    GeneratorType: "Return list(...) of it, or give the task outputs=n, so that each value becomes a dataset",
    CoroutineType: "Run it inside the task, with asyncio.run(...)",
    AsyncGeneratorType: "Run it inside the task, with asyncio.run(...), and return a list of what it yields",
}


def _not_picklable(value: Any, error: Exception) -> NotPicklable:
    kind = type(value)
    if kind in _REMEDIES:
        return NotPicklable(f"a {kind.__name__} cannot be pickled, so it cannot leave its process. {_REMEDIES[kind]}")
    return NotPicklable(
        f"a value of type {kind.__module__}.{kind.__qualname__} cannot be pickled, so it cannot leave its process: "
        f"{type(error).__name__}: {error}. Return plain data, or give its class a __reduce__"
    )
