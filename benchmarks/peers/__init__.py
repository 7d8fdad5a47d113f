"""What is timed: one module a peer, each with a class that fulfils `Peer` and a function `open_peer`.

Each peer runs in a process of its own (`benchmarks.adapter`), so that nothing of one is in another's memory, and one that hangs can
be ended.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from benchmarks.graphs import TaskList


class Layout(NamedTuple):
    """What a peer is given: so many hosts and so many runners on each, and bytes of memory for everything together, 0 for any."""

    hosts: int
    runners: int
    memory: int = 0

    @property
    def workers(self) -> int:
        """Processes that execute tasks: all that there is to tell an engine that knows one machine only."""
        return self.hosts * self.runners


class Peer(Protocol):
    """An engine that stands ready between `open` and its end."""

    def run(self, graph: TaskList) -> list[Any]:
        """Submit a ready task list; returns the values asked for, in order. All of this is timed."""

    def round_trip(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a single task and return its value."""

    def roles(self) -> Mapping[int, str]:
        """What each of its processes is there for, by process id."""


Opener = Callable[[Layout], AbstractContextManager[Peer]]
"""Starts a peer, and ends it on leaving."""


class Known(NamedTuple):
    """A peer that can be asked for. module: with its opener, `open_peer`. needs: the module to be installed for it.
    environment: variables that have to be set before it is imported. standing: whether there is a cluster between two graphs.
    sockets: pattern of paths of sockets that it leaves behind."""

    module: str
    needs: str = ""
    environment: Mapping[str, str] = {}
    standing: bool = True
    sockets: str = ""

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None

    def opener(self) -> Opener:
        """How it is started. Raises ImportError where it is not installed."""
        opener: Opener = importlib.import_module(self.module).open_peer
        return opener


PEERS: Mapping[str, Known] = {
    "serial": Known("benchmarks.peers.serial"),
    "headrace": Known("benchmarks.peers.headrace"),
    "dask": Known("benchmarks.peers.dask", "distributed"),
    "dask-inf": Known("benchmarks.peers.dask", "distributed", {"DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "inf"}),
    "ray": Known("benchmarks.peers.ray", "ray", {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_DOCKER_CPU_WARNING": "1"}),
    "cascade": Known("benchmarks.peers.cascade", "cascade", standing=False, sockets="/tmp/cascShmSock-*"),
}
"""Serial Python, by whose values the others are judged, comes first."""

OURS = ("serial", "headrace")
"""Not peers of ours: the measure, and ourselves."""


def available() -> list[str]:
    """Names of the peers that can run here."""
    return [name for name, known in PEERS.items() if known.installed]


def only_client() -> Mapping[int, str]:
    """The roles of a peer that has this process only."""
    return {os.getpid(): "client"}
