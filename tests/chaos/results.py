"""The numbers of all seeds that were run, one line of JSON each, in a file that runs add to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.chaos.recovery import Recovery


class Done(msgspec.Struct, kw_only=True, frozen=True):
    """One fault that was done."""

    kind: str
    recovery: Recovery


class Result(msgspec.Struct, kw_only=True, frozen=True):
    """One seed. commit: that it ran on. faults: asked for. done: faults that were done. jobs: how many; right: those whose values were
    right. problems: how many, by the name of the check that found them. seconds: that it took."""

    commit: str
    seed: int
    faults: list[str]
    done: list[Done]
    jobs: int
    right: int
    problems: dict[str, int] = {}
    seconds: float = 0.0


def add(path: Path, result: Result) -> None:
    """Add a seed. Several runs may add to one file at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = msgspec.json.encode(result) + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def load(paths: Iterable[Path]) -> list[Result]:
    """All seeds of some files. Raises OSError for a file that is not there."""
    decoder = msgspec.json.Decoder(Result)
    return [decoder.decode(line) for path in paths for line in path.read_bytes().splitlines()]
