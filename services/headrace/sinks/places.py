"""The place of an output: computes a location from a sink's path and an output's name. Pure.

A path is a folder or a file. It is a file if its last part has `{name}` in it or ends in an extension (`.npy`, `.png`), and does not end in
a slash. Anything else is a folder; a file in it has the output's name and the encoding's extension.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from string import Formatter
from typing import Any, NamedTuple
from urllib.parse import quote

from headrace.errors import GraphError
from headrace.text import shown_place

MOST_BYTES = 200
"""Longest name in a path, in bytes: file systems accept 255, and a temporary name adds some 50."""
HASH_DIGITS = 16
"""Hexadecimal digits of the hash that replaces the rest of a longer name."""
PLAIN = "+=,@()"
"""Characters that file systems and URLs accept, besides letters, digits and `-_.~`."""
ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}$")
"""Pattern of a file extension. `v1.2` has none."""
LOCAL = ("", "file", "local")
"""Protocols of the local file system."""
GIVEN = ("job", "graph", "name")
"""Keys that every pattern may have; the other keys are those of the output's metadata."""


class Named(NamedTuple):
    """Values for the keys of a pattern. job: its id. graph, name: names of the graph and of the output."""

    job: str
    graph: str
    name: str
    metadata: Mapping[str, Any]


class Part(NamedTuple):
    """Text of a pattern, and the key and format after it; the key is empty at the end of the pattern."""

    text: str
    key: str
    format: str


class Pattern(NamedTuple):
    """A parsed path of a sink. ending: the extension of the file that it names; empty for a file without one, and for a folder."""

    parts: tuple[Part, ...]
    is_file: bool
    ending: str

    @property
    def keys(self) -> set[str]:
        """The keys of metadata in the path."""
        return {part.key for part in self.parts if part.key and part.key not in GIVEN}


@lru_cache(maxsize=256)
def parse(path: str) -> Pattern:
    """Parse a path. Raises GraphError for an invalid one.

    >>> parse("out/{param}").is_file, parse("out/{param}/{name}").is_file, parse("out/{step:03d}.npy").ending
    (False, True, '.npy')
    """
    try:
        parts = tuple(Part(text, key or "", spec or "") for text, key, spec, conversion in _fields(path))
    except ValueError as error:
        raise GraphError(
            f"the path {shown_place(path)!r} of a sink is not a valid pattern: {error}. Write {{{{ and }}}} for literal braces"
        ) from None
    if not any(part.text.strip("/") or part.key for part in parts):
        raise GraphError(f"the path {shown_place(path)!r} of a sink names neither a folder nor a file")
    in_last = _last(parts)
    literal = parts[-1].text if not parts[-1].key else ""
    ending = ENDING.search(literal.rpartition("/")[2])
    is_file = not literal.endswith("/") and ("name" in in_last or ending is not None)
    return Pattern(parts, is_file, ending.group() if is_file and ending is not None else "")


def _fields(path: str) -> list[tuple[str, str | None, str | None, str | None]]:
    fields = list(Formatter().parse(path))
    for _, key, spec, conversion in fields:
        if key is not None and (not key or re.search(r"[.\[\]{}]", key) or key.isdigit() or conversion or "{" in (spec or "")):
            raise ValueError(f"{{{key}}} is neither a key of metadata nor job, graph or name")
    return fields


def _last(parts: tuple[Part, ...]) -> set[str]:
    """Return the keys in the last part of a path, after its last slash."""
    keys: set[str] = set()
    for part in parts:
        if "/" in part.text:
            keys = set()
        keys.add(part.key)
    return keys


def place(path: str, named: Named) -> str:
    """Return the location of an output. It lacks the encoding's extension, which is added in folders and to files without one.

    >>> place("s3://means/{param}", Named("k3v7", "march", "mean[0]", {"param": "2t"}))
    's3://means/2t/mean%5B0%5D'

    Raises GraphError for a key that the metadata does not have, or whose value cannot be part of a file name.
    """
    pattern = parse(path)
    known = {**named.metadata, "job": named.job, "graph": named.graph, "name": named.name}
    filled = "".join(part.text + (_value(part, known, path, named.name) if part.key else "") for part in pattern.parts)
    return filled if pattern.is_file else f"{filled.rstrip('/')}/{safe(named.name)}"


def plain(location: str) -> str:
    """Return the canonical form of a local path: without a protocol, and without redundant slashes and dots. A URL stays unchanged.

    >>> plain("file:///data//out/./a.npy"), plain("s3://data//a.npy")
    ('/data/out/a.npy', 's3://data//a.npy')
    """
    protocol, found, rest = location.partition("://")
    if found and protocol not in LOCAL:
        return location
    rest = rest if found else location
    while "//" in rest or "/./" in rest:
        rest = rest.replace("//", "/").replace("/./", "/")
    return rest


def _value(part: Part, known: Mapping[str, Any], path: str, name: str) -> str:
    if part.key not in known:
        has = ", ".join(map(repr, sorted(key for key in known if key not in GIVEN))) or "none"
        raise GraphError(
            f"output {name!r} has no metadata {part.key!r}, which the path {shown_place(path)!r} of its sink needs: it has {has}. "
            "Give it (metadata=), or use {name}, {graph} or {job}"
        )
    value = known[part.key]
    if not isinstance(value, str | int | float) and value is not None:
        raise GraphError(
            f"the metadata {part.key!r} of output {name!r} is a {type(value).__name__}, "
            f"and cannot be part of its sink's path {shown_place(path)!r}: use text, numbers or booleans there"
        )
    try:
        text = format(value, part.format) if part.format else str(value)
    except ValueError as error:
        raise GraphError(
            f"the metadata {part.key!r} of output {name!r} does not fit the path {shown_place(path)!r} of its sink: {error}"
        ) from None
    return safe(text)


def safe(text: str) -> str:
    """Encode text as one part of a path that every file system and URL accepts.

    It is percent-encoded, and a long one is shortened with a hash of the whole text, so different texts stay different.

    >>> safe("a/b.c"), safe(".."), safe("")
    ('a%2Fb.c', '%2E.', '%')
    """
    encoded = quote(text.encode("utf-8", "surrogatepass"), safe=PLAIN)
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) > MOST_BYTES:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
        beginning = re.sub(r"%[0-9A-F]?$", "", encoded[: MOST_BYTES - HASH_DIGITS - 1])
        encoded = f"{beginning}-{digest}"
    return encoded or "%"


class Writer(NamedTuple):
    """One write of a job's dataset.

    Several attempts and hosts may write the dataset, each several times. write: unique among all writes of the host.
    """

    job: str
    dataset: int
    attempt: int
    host: str
    write: str


def part_of(location: str, writer: Writer) -> str:
    """Return a temporary name beside the location that no other writer uses.

    >>> part_of("s3://means/2t/mean-0.npy", Writer("k3v7", 4, 0, "alpha", "1795358400000.4242.7"))
    's3://means/2t/.mean-0.npy.k3v7-4-0-alpha-1795358400000.4242.7.part'
    """
    folder, slash, name = location.rpartition("/")
    part = f".{name}.{writer.job}-{writer.dataset}-{writer.attempt}-{writer.host}-{writer.write}.part"
    if len(part.encode()) > MOST_BYTES + 50:
        digest = hashlib.sha256(name.encode()).hexdigest()[:HASH_DIGITS]
        part = f".{name[:20]}-{digest}{part[1 + len(name) :]}"
    return f"{folder}{slash}{part}"
