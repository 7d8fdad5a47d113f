"""Cascade, the engine of earthkit-workflows: one host with as many workers as there are runners.

It has no standing cluster: every run starts its processes, which count. What it would do besides and what nobody times it for is
left out: logs, and a virtual environment per worker, for which it calls a tool, `uv`, that is replaced by one that does nothing.
"""

from __future__ import annotations

import importlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.graphs import Ref, TaskList
from benchmarks.peers import Layout, only_client

PORTS = 16
"""A run takes a port for its controller and a few after it for its host: so many in a row are looked for."""
NO_TOOL = "#!/bin/sh\nexit 0\n"


class Cascade:
    """Writes graphs as its `JobInstance`s, whose tasks take positional inputs."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._core = importlib.import_module("cascade.low.core")
        self._builders = importlib.import_module("cascade.low.builders")
        self._main = importlib.import_module("cascade.main")
        logging = importlib.import_module("cascade.deployment.logging")
        self._no_logs = logging.LoggingConfig(disable=True).ser_cliparam()

    def run(self, graph: TaskList) -> list[Any]:
        """See `Peer.run`."""
        job = self._core.JobInstanceRich(jobInstance=self._job(graph), checkpointSpec=None)
        outputs = self._main.run_locally(job, hosts=1, workers=self._workers, portBase=free_ports(), loggingConfigSer=self._no_logs)
        return [outputs[self._dataset(index)] for index in graph.outputs]

    def round_trip(self, function: Callable[..., Any], *args: Any) -> Any:
        """See `Peer.round_trip`."""
        graph = TaskList()
        return self.run(graph.ask([graph.add(function, *args)]))[0]

    def roles(self) -> Mapping[int, str]:
        """See `Peer.roles`: its other processes come and go with each run."""
        return only_client()

    def _job(self, graph: TaskList) -> Any:
        builders = {function: self._builders.TaskBuilder.from_callable(function) for function in {call.function for call in graph.calls}}
        tasks, edges = {}, []
        for index, call in enumerate(graph.calls):
            static = {str(position): arg for position, arg in enumerate(call.args) if type(arg) is not Ref}
            tasks[f"t{index}"] = builders[call.function].model_copy(update={"static_input_ps": static})
            edges += [self._edge(arg, index, position) for position, arg in enumerate(call.args) if type(arg) is Ref]
        return self._core.JobInstance(tasks=tasks, edges=edges, ext_outputs=[self._dataset(index) for index in graph.outputs])

    def _edge(self, source: Ref, sink: int, position: int) -> Any:
        return self._core.Task2TaskEdge(source=self._dataset(source.call), sink_task=f"t{sink}", sink_input_kw=None, sink_input_ps=position)

    def _dataset(self, index: int) -> Any:
        return self._core.DatasetId(f"t{index}", self._core.DefaultTaskOutput)


def free_ports(count: int = PORTS) -> int:
    """The first of some ports in a row that nobody listens on at the moment."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first: int = probe.getsockname()[1]
        if first + count < 65536 and all(map(_is_free, range(first, first + count))):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def open_peer(layout: Layout) -> Iterator[Cascade]:
    """Nothing to start before the first run."""
    with tempfile.TemporaryDirectory() as folder:
        tool = Path(folder, "uv")
        tool.write_text(NO_TOOL)
        tool.chmod(0o755)
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        yield Cascade(layout.workers)
