"""What is timed: one module a peer, each with a class that fulfils `Peer`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from benchmarks.graphs import TaskList


class Peer(Protocol):
    """An engine that stands ready between `open` and its end."""

    name: str

    def run(self, graph: TaskList) -> list[Any]:
        """Submit a ready task list; returns the values asked for, in order. All of this is timed."""

    def round_trip(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a single task and return its value."""


Opener = Callable[[int, int], AbstractContextManager[Peer]]
"""Starts a peer with so many hosts and so many runners on each, and ends it on leaving."""


def openers() -> dict[str, Opener]:
    """The peers by name; serial Python, by which the others are judged, first."""
    from benchmarks.peers import headrace, serial

    return {"serial": serial.open_peer, "headrace": headrace.open_peer}
