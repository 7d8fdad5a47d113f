"""Read messages.

`read` accepts a message only if it fits the contract and is on its own subject; otherwise it raises `Unreadable`, and no other error.

    read(decoder, data, subject) -> message
        nested no deeper than every parser can go   check_nesting
        JSON of a struct, all fields in range       msgspec, by the types in `limits`
        of no newer schema
        columns of one length, indexes in range     fault
        on its own subject                          Message.subject

Code that has read a message need not check any of this again. A message may still be impossible in the state of its job: it may name an id
beyond the graph, or an attempt that nobody asked for. The fold of the log finds that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from headrace_schemas.base import SCHEMA_VERSION, Message, Record
from headrace_schemas.limits import MAX_NESTING

LAST_PORT = 65_535
"""The largest TCP port."""
_TOKENS = re.compile(r"[A-Za-z0-9_-]{1,64}(,[A-Za-z0-9_-]{1,64})*")
_OTHERS = bytes(set(range(256)) - set(b'[]{}"\\'))
_ESCAPED = re.compile(rb'\\["\\]')
_SQUARE = bytes.maketrans(b"{}", b"[]")
_STEP = ((ord("[") + ord("]")) // 2).__sub__
"""1 for an opening bracket, -1 for a closing one."""
_ROUNDS = 8
_MAX_PASSED = 1000
"""Each check remembers at most this many values that passed: combinations of lengths, or lists of tokens with fewer characters than this.
"""
_BEGINNING = 4096

T = TypeVar("T")
M = TypeVar("M", bound=Record)


class Unreadable(ValueError):
    """A message that readers skip. The error's text gives the reason."""


class NewerVersion(Unreadable):
    """A message of a newer schema. version: its schema version. term: the term that it claims, if a service wrote it; 0 otherwise."""

    def __init__(self, version: int, term: int) -> None:
        super().__init__(f"it has schema version {version}, and this release reads up to {SCHEMA_VERSION}")
        self.version = version
        self.term = term


class Header(msgspec.Struct):
    """The fields that can be read of a message whose other fields are invalid or too new."""

    v: int = 0
    term: object = 0
    client: object = ""


_header = msgspec.json.Decoder(Header).decode


def read(decoder: msgspec.json.Decoder[M], data: bytes, subject: str = "") -> M:
    """Decode and check a message. subject: the subject that it was found on, or the key of a value in a bucket; empty: do not check it.

    Raises NewerVersion, or Unreadable for every other fault.
    """
    message = decode(decoder, data)
    kind = type(message)
    checks, stands_on = _known.get(kind) or _rules_of(kind)
    if stands_on is not None and message.v > SCHEMA_VERSION:  # type: ignore[attr-defined]
        raise NewerVersion(message.v, getattr(message, "term", 0))  # type: ignore[attr-defined]
    for check in checks:
        found = check(message)
        if found:
            raise Unreadable(found)
    if subject and stands_on is not None:
        make, fields, is_one = stands_on
        try:
            own = make(fields(message)) if is_one else make(*fields(message))
        except ValueError as error:  # a field cannot be part of a subject
            raise Unreadable(str(error)) from None
        if own != subject:
            raise Unreadable(f"a message of kind {message.__struct_config__.tag!r} belongs on {own}")
    return message


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode a message and check its types. Raises NewerVersion, or Unreadable."""
    size = len(data)
    if size >= _BEGINNING or size - len(data.replace(b"[", b"").replace(b"{", b"")) > MAX_NESTING:
        check_nesting(data)  # with fewer brackets it cannot be nested too deep; to take them out is twice as fast as to count them
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        header = header_of(data)
        if header.v > SCHEMA_VERSION:
            raise NewerVersion(header.v, header.term if isinstance(header.term, int) else 0) from None
        raise Unreadable(str(error)) from None


def header_of(data: bytes) -> Header:
    """Return the header of a message, or an empty one if the bytes are not a message."""
    try:
        check_nesting(data)
        return _header(data)
    except (msgspec.DecodeError, RecursionError, Unreadable):
        return Header()


# --- depth ----------------------------------------------------------------------------------------------------------------


def check_nesting(data: bytes) -> None:
    """Raise Unreadable for JSON that is nested deeper than `MAX_NESTING`, before a parser descends into it.

    How deep a parser can go depends on the Python release and on the stack. So this counts the depth itself.
    """
    if not _has_few_brackets(data) and not _is_shallow(data):
        raise Unreadable(f"it is nested deeper than {MAX_NESTING} lists and objects, or is not JSON")


def _has_few_brackets(data: bytes) -> bool:
    """Return whether the message has too few brackets for a depth of `MAX_NESTING`.

    In a long message, finding each bracket is faster than counting.
    """
    left = MAX_NESTING
    for bracket in (b"[", b"{"):
        at = data.find(bracket)
        while at >= 0 and left >= 0:
            left -= 1
            at = data.find(bracket, at + 1)
    return left >= 0


def _is_shallow(data: bytes) -> bool:
    """Return whether the depth is at most `MAX_NESTING`.

    Each round removes all innermost pairs, which leaves nothing of most messages; the remaining brackets are counted one by one. A message
    that nests without end costs only a look at its beginning.
    """
    if max(accumulate(map(_STEP, _brackets(data[:_BEGINNING]))), default=0) > MAX_NESTING:
        return False
    brackets = _brackets(data)
    for _ in range(_ROUNDS):
        brackets = brackets.replace(b"[]", b"")
    return not brackets or _ROUNDS + max(accumulate(map(_STEP, brackets))) <= MAX_NESTING


def _brackets(data: bytes) -> bytes:
    """Return the brackets outside of strings, all as square ones."""
    structure = data.translate(None, _OTHERS)
    if b"\\" in structure:
        structure = _ESCAPED.sub(b"", data).translate(None, _OTHERS)
    return b"".join(structure.split(b'"')[::2]).translate(_SQUARE)


# --- rules between fields -----------------------------------------------------------------------------------------------------

Check = Callable[[Any], str]


def fault(message: Record) -> str:
    """Check the rules between the fields of a message. Return a text on the first one that is broken; empty if none is."""
    for check in _rules_of(type(message))[0]:
        found = check(message)
        if found:
            return found
    return ""


_StandsOn = tuple[Callable[..., str], Callable[[Any], Any], bool]
"""The function that makes the subject of a message, what gets its arguments from the message, and whether that is one argument alone."""
_Rules = tuple[tuple[Check, ...], _StandsOn | None]
_known: dict[type[Any], _Rules] = {}


def _rules_of(struct: type[Any]) -> _Rules:
    """Return the checks of a type, and what makes the subject of a message; None for a type without version and subject."""
    if struct not in _known:
        _known[struct] = tuple(_checks(struct)), _subject_of(struct) if issubclass(struct, Message) else None
    return _known[struct]


def _subject_of(kind: type[Message]) -> _StandsOn:
    """`Message.subject` for one type, three times as fast."""
    if kind.subject is not Message.subject or not kind.stands_on:
        return kind.subject, lambda message: message, True
    make, *fields = kind.stands_on
    return make, attrgetter(*fields), len(fields) == 1


def _checks(struct: type[Record]) -> list[Check]:
    checks: list[Check] = [_lengths(struct.columns)] if struct.columns else []
    checks += [_total(lengths, items) for lengths, items in struct.totals]
    checks += [_index(places, table) for places, table in struct.indexes]
    checks += [_names(field) for field in struct.tokens]
    checks += [_place(field) for field in struct.places]
    return checks


def _lengths(groups: tuple[tuple[str, ...], ...]) -> Check:
    names = [name.rstrip("?") for group in groups for name in group]
    optional = [name.endswith("?") for group in groups for name in group]
    columns = attrgetter(*names)
    pairs = list(_pairs(groups))
    passed: set[tuple[int, ...]] = set()

    def check(message: Any) -> str:
        lengths = tuple(map(len, columns(message)))
        if lengths in passed:
            return ""
        for first, other in pairs:
            if lengths[first] != lengths[other] and (lengths[other] or not optional[other]):
                return f"{names[other]} has {lengths[other]} entries, and {names[first]} has {lengths[first]}"
        if len(passed) < _MAX_PASSED:
            passed.add(lengths)
        return ""

    return check


def _pairs(groups: tuple[tuple[str, ...], ...]) -> Iterator[tuple[int, int]]:
    """Yield the positions, in the concatenated groups, of the first column of each group and each other column of the group."""
    first = 0
    for group in groups:
        yield from ((first, first + place) for place in range(1, len(group)))
        first += len(group)


def _total(lengths: str, items: str) -> Check:
    columns = attrgetter(lengths, items)

    def check(message: Any) -> str:
        counts, counted = columns(message)
        if sum(counts) == len(counted):
            return ""
        return f"{lengths} adds up to {sum(counts)}, and {items} has {len(counted)} entries"

    return check


def _index(places: str, table: str) -> Check:
    def check(message: Any) -> str:
        column = getattr(message, places)
        if not column or max(column) < len(getattr(message, table)):
            return ""
        return f"{places} names place {max(column)} of {table}, which has {len(getattr(message, table))} entries"

    return check


def _names(field: str) -> Check:
    passed: set[str] = set()

    def check(message: Any) -> str:
        value = getattr(message, field)
        if not value:
            return ""
        text = value if type(value) is str else ",".join(value)
        return "" if text in passed or _is_listed(text, passed) else f"{field} has an entry that is not a token of a subject"

    return check


def _is_listed(text: str, passed: set[str]) -> bool:
    """Return whether the text is a list of tokens.

    Short lists are remembered, since messages name the hosts of a cluster again and again.
    """
    is_list = _TOKENS.fullmatch(text) is not None
    if is_list and len(text) < _MAX_PASSED and len(passed) < _MAX_PASSED:
        passed.add(text)
    return is_list


def _place(field: str) -> Check:
    def check(message: Any) -> str:
        address: str = getattr(message, field)
        host, _, port = address.rpartition(":")
        fits = bool(host) and len(port) <= len(str(LAST_PORT)) and port.isascii() and port.isdigit() and int(port) <= LAST_PORT
        return "" if fits and len(address) < 300 else f"{field} is {address!r:.80}, which is not an address with a port"

    return check
