"""Ray on one node with as many CPUs as there are runners."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.graphs import Ref, TaskList
from benchmarks.peers import Layout

STORE_SHARE = 0.4
"""Of a memory limit: for the object store. The rest is for workers and services."""
SERVICES = ("raylet", "gcs_server")


class Ray:
    """Submits calls one by one, as Ray has it, with references as arguments."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._remotes: dict[Callable[..., Any], Any] = {}

    def run(self, graph: TaskList) -> list[Any]:
        """See `Peer.run`. A reference is dropped when the last call that takes it was submitted, so that Ray can drop the value."""
        refs: dict[int, Any] = {}
        for index, (function, args) in enumerate(graph.calls):
            refs[index] = self._remote(function).remote(*[refs[arg.call] if type(arg) is Ref else arg for arg in args])
            for spent in graph.spent[index]:
                del refs[spent]
        return list(self._ray.get([refs[index] for index in graph.outputs]))

    def round_trip(self, function: Callable[..., Any], *args: Any) -> Any:
        """See `Peer.round_trip`."""
        return self._ray.get(self._remote(function).remote(*args))

    def roles(self) -> Mapping[int, str]:
        """See `Peer.roles`."""
        return {os.getpid(): "client"} | {child.pid: _role(child) for child in psutil.Process().children(recursive=True)}

    def _remote(self, function: Callable[..., Any]) -> Any:
        if function not in self._remotes:
            self._remotes[function] = self._ray.remote(function)
        return self._remotes[function]


def _role(process: psutil.Process) -> str:
    name = process.name()
    if name.startswith("ray::"):
        return "worker"
    return name if name in SERVICES else "other"


@contextmanager
def open_peer(layout: Layout) -> Iterator[Ray]:
    """A node without a dashboard, whose files are where this process has its temporary ones."""
    ray = importlib.import_module("ray")
    store = {"object_store_memory": int(STORE_SHARE * layout.memory)} if layout.memory else {}
    folder = f"{tempfile.gettempdir()}/ray"
    ray.init(address="local", num_cpus=layout.workers, include_dashboard=False, log_to_driver=False, _temp_dir=folder, **store)
    try:
        yield Ray(ray)
    finally:
        ray.shutdown()
