"""Exceptions, made again without calling what their classes define.

Python calls the class with `args` instead, which is what the innermost `__init__` was given: a class whose `__init__` takes something else
cannot be unpickled, or says its message twice, and a frozen dataclass refuses its own attributes.
"""

from __future__ import annotations

from typing import Any

_HEAP_TYPE = 1 << 9
"""Flag of a class that is no part of Python itself."""


def reduce_exception(error: BaseException) -> Any:
    """How to pickle an exception; NotImplemented for one that says itself how."""
    cls = type(error)
    base = _built_in(cls)
    if cls is base or cls.__reduce__ is not base.__reduce__ or cls.__reduce_ex__ is not base.__reduce_ex__:
        return NotImplemented
    if getattr(cls, "__setstate__", None) is not BaseException.__setstate__:
        return NotImplemented
    args = tuple(error.__reduce__()[1])
    return make_exception, (cls, args), vars(error), None, None, set_attributes


def make_exception(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An exception of a class with these `args`, which lacks its other attributes yet."""
    made: BaseException = _layout(cls).__new__(cls, *args)
    _built_in(cls).__init__(made, *args)
    return made


def set_attributes(error: BaseException, attributes: dict[str, Any]) -> None:
    """Give an exception its attributes, also where its class lets nobody set them."""
    vars(error).update(attributes)


def _built_in(cls: type[BaseException]) -> type[BaseException]:
    """The class of Python's own whose methods come first."""
    return next(each for each in cls.__mro__ if not each.__flags__ & _HEAP_TYPE)


def _layout(cls: type[BaseException]) -> type[BaseException]:
    """The class of Python's own that the memory of a `cls` is laid out as: only its `__new__` may make one. Of several bases it need not
    be the first: `MemoryError` has a `__new__` of its own, and adds nothing to the layout of `Exception`."""
    while cls.__flags__ & _HEAP_TYPE:
        cls = cls.__base__  # type: ignore[assignment]  # only `object` has none
    return cls
