"""Pickling by value, for what no module of the reading process exports: cloudpickle, and what it leaves out.

`dumps` is the only way by which Headrace calls cloudpickle, so that what is mended here is mended for functions, arguments, results and
exceptions alike.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from types import CodeType
from typing import Any, BinaryIO

import cloudpickle

from headrace.pickling.sources import Sources, locate

PROTOCOL = 5
"""Pickle protocol: the newest that every supported Python reads, and the first with buffers out of band."""

_reduce_code: Callable[[CodeType], tuple[Any, ...]] = cloudpickle.CloudPickler.dispatch_table[CodeType]


class ByValuePickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """A cloudpickle pickler whose code objects keep the names of their files.

    sources: takes note of files and lines, which then travel beside the pickle. None: the file names are in the pickle.
    """

    def __init__(self, file: BinaryIO, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None, sources: Sources | None) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._sources = sources

    def reducer_override(self, value: Any) -> Any:
        """How a value is pickled, where that differs from what pickle does by itself."""
        return self._reduce_code(value) if type(value) is CodeType else super().reducer_override(value)

    def _reduce_code(self, code: CodeType) -> tuple[Any, ...]:
        make, parts, *_ = _reduce_code(code)
        if self._sources is None:
            return _code_in_file, (code.co_filename, make, *parts)
        self._sources.add(code)
        return _registered_code, (make, *parts)


def dumps(value: object, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None, sources: Sources | None = None) -> bytes:
    """The pickle of a value, with the code of what the reading process cannot import. Raises whatever pickling the value raises."""
    file = io.BytesIO()
    ByValuePickler(file, buffer_callback, sources).dump(value)
    return file.getvalue()


def _code_in_file(file: str, make: Callable[..., CodeType], *parts: Any) -> CodeType:
    return make(*parts).replace(co_filename=file)


def _registered_code(make: Callable[..., CodeType], *parts: Any) -> CodeType:
    return locate(make(*parts))
