"""Every message with every field at its edges, made from the structs themselves: what their types allow, and what lies just beyond.

    for subject, data in messages(EXAMPLES): ...

A field that is added to the contract is in here by that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from headrace_schemas import Message, Record, encode

Json = Any
RAW = "\ue000raw"
"""Begins a str that stands for JSON which no encoder makes."""
INTEGERS = [-1, 0, 1, 2**15 - 1, 2**15, 2**24 - 1, 2**24, 2**31 - 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30]
FLOATS = [-1.0, -0.0, 1e-300, 1e15, 1e16, 1e300, f"{RAW}1e999", f"{RAW}NaN"]
TEXTS = ["", "x" * 2_000, "a.b", "a b", "*", ">", "\x00", "\x1b[2J", "é", "no-such-thing", f'{RAW}"\\ud800"']
BYTES = ["", "AA==", "not base64", "A" * 20_000]
DEEP = [f"{RAW}{'[' * depth}{']' * depth}" for depth in (60, 500, 5_000)]
OTHERS: list[Json] = [None, True, 7, "text", [], [[]], {}]
"""Of another type than the field's, or empty."""


def messages(struct: type[Record], example: Record) -> Iterator[bytes]:
    """The example as JSON, once for each edge of each of its fields, at any depth."""
    base = msgspec.to_builtins(example)
    seen: set[bytes] = set()
    for changed in _structs(inspect.type_info(struct), base):
        data = dump(changed)
        if data not in seen:
            seen.add(data)
            yield data


def dump(value: Json) -> bytes:
    """As JSON; what begins with `RAW` as it stands. Integers of any size."""
    return _dump(value).encode("utf-8", "surrogatepass")


def _dump(value: Json) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_dump(key)}:{_dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    if isinstance(value, str) and value.startswith(RAW):
        return value[len(RAW) :]
    return str(value) if type(value) is int else msgspec.json.encode(value).decode()


def elsewhere(message: Message, subjects: list[str]) -> Iterator[tuple[str, bytes]]:
    """A good message on the subjects of others."""
    yield from ((subject, encode(message)) for subject in subjects)


# --- by type ------------------------------------------------------------------------------------------------------------


def _structs(info: inspect.Type, base: Json) -> Iterator[Json]:
    """A struct with one field changed; and without, and with one that nobody knows."""
    assert isinstance(info, inspect.StructType)
    yield base
    for field in info.fields:
        name = field.encode_name
        for value in _values(field.type, base.get(name)):
            yield {**base, name: value}
        yield {key: value for key, value in base.items() if key != name}
    if info.tag_field is not None:
        yield from ({**base, info.tag_field: kind} for kind in ("", "submitted", "of_next_year", 7))
    yield {**base, "unknown": 1, "deep": DEEP[-1]}


def _values(info: inspect.Type, now: Json) -> Iterator[Json]:
    yield from OTHERS
    for kind, values in _BY_TYPE:
        if isinstance(info, kind):
            yield from values(info, now)


def _ints(info: Any, _: Json) -> Iterator[Json]:
    yield from INTEGERS
    for bound in (info.ge, info.gt, info.le, info.lt):
        if bound is not None:
            yield from (bound - 1, bound, bound + 1)


def _lists(info: Any, now: Json) -> Iterator[Json]:
    """Shorter, longer, and with each edge of an item at its end."""
    now = now or []
    yield now[:-1]
    yield now + now
    item = now[-1] if now else None
    for value in _values(info.item_type, copy.deepcopy(item)):
        yield [*now[:-1], value]
        yield [*now, value]
    if item is not None:
        yield [item] * 3_000


def _dicts(info: Any, now: Json) -> Iterator[Json]:
    yield from ({"key": value} for value in _values(info.value_type, None))
    yield {"k" * 2_000: 1}
    yield {str(n): n for n in range(2_000)}


def _unions(info: Any, now: Json) -> Iterator[Json]:
    for part in info.types:
        yield from _values(part, now)


def _records(info: Any, now: Json) -> Iterator[Json]:
    if now is not None:
        yield from _structs(info, now)


_BY_TYPE: list[tuple[type[inspect.Type], Callable[[Any, Json], Iterator[Json]]]] = [
    (inspect.IntType, _ints),
    (inspect.FloatType, lambda info, now: iter(FLOATS)),
    (inspect.StrType, lambda info, now: iter(TEXTS)),
    (inspect.BytesType, lambda info, now: iter(BYTES)),
    (inspect.LiteralType, lambda info, now: iter([*info.values, *TEXTS])),
    (inspect.AnyType, lambda info, now: iter([*DEEP, *INTEGERS])),
    (inspect.ListType, _lists),
    (inspect.DictType, _dicts),
    (inspect.UnionType, _unions),
    (inspect.StructType, _records),
]
