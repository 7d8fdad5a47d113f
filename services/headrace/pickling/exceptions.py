"""Pickles exceptions, so that unpickling does not call code of their classes.

Python calls the class with `args`, the arguments of the innermost `__init__`. If the class's own `__init__` takes other arguments, the
exception cannot be unpickled, or repeats its message; and a frozen dataclass refuses to set its attributes.
"""

from __future__ import annotations

from typing import Any

_HEAP_TYPE = 1 << 9
"""Flag of a class that is not part of Python itself."""


def reduce_exception(error: BaseException) -> Any:
    """Return how to pickle an exception; NotImplemented if its class defines that itself."""
    cls = type(error)
    base = _built_in(cls)
    if cls is base or cls.__reduce__ is not base.__reduce__ or cls.__reduce_ex__ is not base.__reduce_ex__:
        return NotImplemented
    if getattr(cls, "__setstate__", None) is not BaseException.__setstate__:
        return NotImplemented
    args = tuple(error.__reduce__()[1])
    return make_exception, (cls, args), vars(error), None, None, set_attributes


def make_exception(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception of a class with these `args`, which lacks its other attributes yet."""
    made: BaseException = _layout(cls).__new__(cls, *args)
    _built_in(cls).__init__(made, *args)
    return made


def set_attributes(error: BaseException, attributes: dict[str, Any]) -> None:
    """Set the attributes of an exception, even if its class does not allow that."""
    vars(error).update(attributes)


def _built_in(cls: type[BaseException]) -> type[BaseException]:
    """Return the built-in class whose methods come first."""
    return next(each for each in cls.__mro__ if not each.__flags__ & _HEAP_TYPE)


def _layout(cls: type[BaseException]) -> type[BaseException]:
    """Return the built-in class whose memory layout a `cls` has: only its `__new__` can make one.

    It need not be the first of several bases: `MemoryError` has a `__new__` of its own, and adds nothing to the layout of `Exception`.
    """
    while cls.__flags__ & _HEAP_TYPE:
        cls = cls.__base__  # type: ignore[assignment]  # only `object` has none
    return cls
