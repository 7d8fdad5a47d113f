"""Pickles classes by value.

cloudpickle has three faults that this module corrects. It makes a class without its slots and adds their names afterwards, which makes its
instances unreadable. If a class comes back to the process that defined it, cloudpickle sets all attributes of the original class again. And
it makes the members of an enumeration from their values, without the effects of `__init__` and `__new__`, and without their aliases.

This module relies on names that are not public, whose changes the tests would detect: cloudpickle's `_class_getnewargs`, `_class_getstate`
and `_class_setstate`, its table of classes by id, and enum's `_member_map_`, `_member_type_`, `_new_member_` and `_use_args_`.
"""

from __future__ import annotations

import types
import weakref
from enum import Enum, EnumType
from typing import Any, NamedTuple

from cloudpickle import cloudpickle

_MADE: weakref.WeakSet[type[Any]] = weakref.WeakSet()
"""The classes that were unpickled in this process. All others were defined here, and nothing from another process changes them."""
OF_THE_BODY = frozenset({"__slots__", "__orig_bases__"})
"""Attributes that affect how a class is created, and so must be present at that time."""
_OF_MEMBERS = ("_value_", "_name_", "_sort_order_", "__objclass__")
"""Attributes of a member that its enumeration sets."""
_OF_ENUMERATIONS = (
    "_generate_next_value_",
    "_member_names_",
    "_member_map_",
    "_member_type_",
    "_value2member_map_",
    "_hashable_values_",
    "_unhashable_values_",
    "_unhashable_values_map_",
)
"""Attributes that the metaclass derives from the members."""


def reduce_class(cls: type[Any], reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return how to pickle a class that cloudpickle pickles by value. reduced: cloudpickle's own way, which is kept for other objects."""
    if len(reduced) != 6:  # type(None) and others that have no name
        return reduced
    if isinstance(cls, EnumType):
        return _reduce_enumeration(cls)
    kind, name, bases, members, key, *_ = cloudpickle._class_getnewargs(cls)
    state, _ = cloudpickle._class_getstate(cls)
    members["__qualname__"] = cls.__qualname__
    if issubclass(cls, tuple):  # typing.NamedTuple would make another one, and allows no slots
        bases = cls.__bases__
    for each in OF_THE_BODY & vars(cls).keys():
        members[each] = vars(cls)[each]
        state.pop(each, None)
    for each in [name for name, value in state.items() if _is_slot(value, cls)]:
        del state[each]
    state.pop("__slotnames__", None)  # made by pickle, when it first needs them
    return make_class, (kind, name, bases, members, key), (state, {}), None, None, set_class


def _is_slot(value: Any, cls: type[Any]) -> bool:
    return type(value) is types.MemberDescriptorType and value.__objclass__ is cls


def make_class(kind: Any, name: str, bases: tuple[Any, ...], members: dict[str, Any], key: str) -> type[Any]:
    """Return the class with that key if it is known here, or else a new one, which lacks its attributes yet."""
    return _known(key) or _remember(key, types.new_class(name, bases, {"metaclass": kind}, lambda namespace: namespace.update(members)))


def set_class(cls: type[Any], state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set a class's attributes, unless it was defined in this process."""
    if cls in _MADE:
        cloudpickle._class_setstate(cls, state)


def _known(key: str) -> type[Any] | None:
    found: type[Any] | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(key)
    return found


def _remember(key: str, cls: type[Any]) -> type[Any]:
    _MADE.add(cls)
    found: type[Any] = cloudpickle._lookup_class_or_track(key, cls)
    return found


# --- enumerations -----------------------------------------------------------------------------------------------------


class Member(NamedTuple):
    """The parts of an enumeration's member. data: arguments of the `__new__` of the mixed-in type, like int."""

    value: Any
    data: tuple[Any, ...]


class Given:
    """A member's value in the body of an enumeration, wrapped so that a tuple is not taken for arguments."""

    def __init__(self, member: Member) -> None:
        self.member = member


def _reduce_enumeration(cls: type[Enum]) -> tuple[Any, ...]:
    members = {name: Member(each._value_, _data(each, cls._member_type_)) for name, each in cls.__members__.items()}  # type: ignore[attr-defined]
    boundary = {"boundary": cls._boundary_} if hasattr(cls, "_boundary_") else {}
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    state, _ = cloudpickle._class_getstate(cls)
    for name in (*_OF_ENUMERATIONS, *members, "__slotnames__"):
        state.pop(name, None)
    state |= {name: getattr(cls, name) for name in ("_new_member_", "_use_args_")}
    own = {each.name: {name: value for name, value in vars(each).items() if name not in _OF_MEMBERS} for each in cls}
    parts = type(cls), cls.__name__, cls.__bases__, names, members, boundary, cloudpickle._get_or_create_tracker_id(cls)
    return make_enumeration, parts, (state, own), None, None, set_enumeration


def _data(member: Enum, mixed_in: Any) -> tuple[Any, ...]:
    if mixed_in is object:
        return ()
    if hasattr(mixed_in, "__getnewargs__"):
        return tuple(mixed_in.__getnewargs__(member))
    plain: Any = object
    return () if mixed_in.__reduce__ is plain.__reduce__ else tuple(mixed_in.__reduce__(member)[1])


def make_enumeration(
    kind: Any,
    name: str,
    bases: tuple[Any, ...],
    names: dict[str, str],
    members: dict[str, Member],
    boundary: dict[str, Any],
    key: str,
) -> type[Any]:
    """Return the enumeration with that key if it is known here, or else a new one with its members, but without its other attributes."""
    known = _known(key)
    if known is not None:
        return known
    namespace = kind.__prepare__(name, bases)
    namespace["__new__"], namespace["__init__"] = _new_member, _no_init
    for each, value in names.items():
        namespace[each] = value
    for each, member in members.items():
        namespace[each] = Given(Member(*member))
    return _remember(key, kind.__new__(kind, name, bases, namespace, **boundary))


def set_enumeration(cls: Any, state: tuple[dict[str, Any], dict[str, dict[str, Any]]]) -> None:
    """Set the attributes of an enumeration and its members, unless it was defined in this process."""
    if cls not in _MADE:
        return
    attributes, own = state
    for name in ("__new_member__", "__init__"):
        if name in vars(cls) and name not in attributes:
            delattr(cls, name)
    cloudpickle._class_setstate(cls, (attributes, {}))
    for name, values in own.items():
        vars(cls._member_map_[name]).update(values)


def _new_member(cls: Any, given: Any) -> Any:
    while isinstance(given, tuple):  # enumerations of tuples wrap it
        (given,) = given
    mixed_in = cls._member_type_
    made = mixed_in.__new__(cls, *given.member.data)
    made._value_ = given.member.value
    return made


def _no_init(self: Any, *_: Any) -> None:
    """Do nothing, because the attributes come with the state."""
