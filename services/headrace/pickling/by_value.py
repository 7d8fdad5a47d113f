"""Pickles objects by value if no module of the reading process exports them, with cloudpickle and additions to it.

Headrace calls cloudpickle only through this module, so that functions, arguments, results and exceptions all get these additions.
"""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import IO, Any, ClassVar

import cloudpickle

from headrace.pickling.callables import REDUCERS, is_single_dispatch, reduce_single_dispatch
from headrace.pickling.classes import reduce_class
from headrace.pickling.exceptions import reduce_exception
from headrace.pickling.portable import PROTOCOL
from headrace.pickling.sources import Sources, locate

_OWN, *_OTHERS = cloudpickle.CloudPickler.dispatch_table.maps

NO_FILE = "<dynamic-code>"
"""The file name of code that travels, until it is unpickled. cloudpickle does the same since 3.1.3."""

_reduce_code: Callable[[CodeType], tuple[Any, ...]] = cloudpickle.CloudPickler.dispatch_table[CodeType]


class ByValuePickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """A cloudpickle pickler with the reducers of this package. Its code objects keep the names of their files.

    sources: records files and lines, which then travel beside the pickle. None: the file names are in the pickle.
    """

    dispatch_table: ClassVar[Any] = ChainMap({**_OWN, **REDUCERS}, *_OTHERS)

    def __init__(self, file: IO[bytes], buffer_callback: Callable[[pickle.PickleBuffer], Any] | None, sources: Sources | None) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._sources = sources

    def reducer_override(self, value: Any) -> Any:
        """Return how to pickle a value, if that differs from what pickle and `dispatch_table` do by themselves."""
        kind = type(value)
        if kind is FunctionType or issubclass(kind, type):
            return self._reduce_definition(value)
        if kind is CodeType:
            return self._reduce_code(value)
        return reduce_exception(value) if issubclass(kind, BaseException) else NotImplemented

    def _reduce_definition(self, value: Any) -> Any:
        """Reduce a function or a class."""
        reduced = super().reducer_override(value)
        if not isinstance(reduced, tuple):  # the reading process can import it
            return reduced
        if type(value) is FunctionType:
            return reduce_single_dispatch(value) if is_single_dispatch(value) else reduced
        return reduce_class(value, reduced)

    def _reduce_code(self, code: CodeType) -> tuple[Any, ...]:
        if self._sources is not None:
            self._sources.add(code)
        make, parts, *_ = _reduce_code(code.replace(co_filename=NO_FILE))
        return (_code_in_file, (code.co_filename, make, *parts)) if self._sources is None else (_registered_code, (make, *parts))


def dumps(value: object, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None, sources: Sources | None = None) -> bytes:
    """Pickle a value, with the code of everything that the reading process cannot import.

    Raises any exception that pickling the value raises.
    """
    file = io.BytesIO()
    ByValuePickler(file, buffer_callback, sources).dump(value)
    return file.getvalue()


def dump(value: object, file: IO[bytes]) -> None:
    """Write the pickle of a value to a file. Raises any exception that pickling the value raises."""
    ByValuePickler(file, None, None).dump(value)


def _code_in_file(file: str, make: Callable[..., CodeType], *parts: Any) -> CodeType:
    return make(*parts).replace(co_filename=file)


def _registered_code(make: Callable[..., CodeType], *parts: Any) -> CodeType:
    return locate(make(*parts))
