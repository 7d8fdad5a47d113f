"""Splits snapshots that are too large for one message, and joins them again.

LedgerSnapshot --in_parts--> first, second, ...     each small enough to be stored
first, second, ... --whole--> LedgerSnapshot
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from headrace_schemas import LedgerSnapshot, encode

_FIXED_BYTES = 2_000
"""Bytes of a part with empty lists: field names, stamps, and the revisions of up to 100 parts."""
_RANGE_BYTES = 34
"""Bytes of a range: two sequences of up to 16 digits each."""
_LISTS = ("jobs", "first", "last", "turns", "over")


class _Item(NamedTuple):
    """Values that must be in the same part, each with the name of its list. nbytes: their encoded size."""

    nbytes: int
    values: tuple[tuple[str, Any], ...]


def part_name(service: str, number: int) -> str:
    """Return the key under which a part is stored. number: 0 for the first part, whose key is the name of the service."""
    return f"{service}-{number}" if number else service


def in_parts(snapshot: LedgerSnapshot, most: int) -> list[LedgerSnapshot]:
    """Split a snapshot into parts of at most `most` bytes. Only a part with a single larger message may be larger."""
    if len(encode(snapshot)) <= most:
        return [snapshot]
    packed = _packed(_items(snapshot), most - _FIXED_BYTES)
    empty: dict[str, list[Any]] = {name: [] for name in _LISTS}
    return [
        msgspec.structs.replace(snapshot, service=part_name(snapshot.service, number), **(empty | lists))
        for number, lists in enumerate(packed)
    ]


def whole(parts: Sequence[LedgerSnapshot]) -> LedgerSnapshot:
    """Join the parts of a snapshot. parts: in the order of their numbers."""
    first = parts[0]
    if len(parts) == 1:
        return first
    lists = {name: [value for part in parts for value in getattr(part, name)] for name in _LISTS}
    return msgspec.structs.replace(first, rest=[], **lists)


def _items(snapshot: LedgerSnapshot) -> Iterator[_Item]:
    for name in ("jobs", "over"):
        for job in getattr(snapshot, name):
            yield _Item(len(job) + 3, ((name, job),))
    for first, last in zip(snapshot.first, snapshot.last, strict=True):
        yield _Item(_RANGE_BYTES, (("first", first), ("last", last)))
    for turn in snapshot.turns:
        yield _Item(len(encode(turn)) + 1, (("turns", turn),))


def _packed(items: Iterable[_Item], most: int) -> list[dict[str, list[Any]]]:
    """Distribute items over parts of at most `most` bytes, and return the lists of each part."""
    parts: list[dict[str, list[Any]]] = [{}]
    size = 0
    for item in items:
        if size + item.nbytes > most and size:
            parts.append({})
            size = 0
        size += item.nbytes
        for name, value in item.values:
            parts[-1].setdefault(name, []).append(value)
    return parts
