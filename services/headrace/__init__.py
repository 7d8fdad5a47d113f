"""Headrace runs static task graphs of Python functions over large arrays on several hosts.

    import headrace as hr

    @hr.task
    def anomaly(field, climate):
        return field - climate

    g = hr.Graph("march")
    fields = [g.add(load, hour) for hour in range(744)]
    out = g.add(anomaly, fields[0], g.add(mean, fields))

    with hr.Cluster.local() as cluster:
        values = cluster.submit(g).results()

Names are imported when they are first used, so that `import headrace` takes milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.client.catalogue import OutputRecord
    from headrace.client.cluster import Cluster
    from headrace.client.job import Job, JobStatus
    from headrace.errors import (
        ClusterClosed,
        ClusterFailed,
        CorruptOutput,
        FunctionNotFound,
        GraphError,
        HeadraceError,
        JobCancelled,
        JobFailed,
        JobTimeout,
        MissingLibrary,
        NatsStoresNothing,
        NatsUnreachable,
        NoJetStream,
        NoSuchJob,
        NotPicklable,
        OutputsLost,
        SettingsError,
        SinkFailed,
        SinkRefused,
        TaskFailed,
        UnreadableResult,
        WrongCredentials,
    )
    from headrace.graph.builder import Graph
    from headrace.graph.node import Dataset, Node
    from headrace.graph.output import Output
    from headrace.graph.task import delayed, task
    from headrace.sinks.reading import SinkFile
    from headrace.sinks.sink import Sink
    from headrace.values.making import empty, empty_like, zeros

__all__ = [
    "Cluster",
    "ClusterClosed",
    "ClusterFailed",
    "CorruptOutput",
    "Dataset",
    "FunctionNotFound",
    "Graph",
    "GraphError",
    "HeadraceError",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobStatus",
    "JobTimeout",
    "MissingLibrary",
    "NatsStoresNothing",
    "NatsUnreachable",
    "NoJetStream",
    "NoSuchJob",
    "Node",
    "NotPicklable",
    "Output",
    "OutputRecord",
    "OutputsLost",
    "SettingsError",
    "Sink",
    "SinkFailed",
    "SinkFile",
    "SinkRefused",
    "TaskFailed",
    "UnreadableResult",
    "WrongCredentials",
    "delayed",
    "empty",
    "empty_like",
    "task",
    "zeros",
]

_HOMES = {
    "Cluster": "headrace.client.cluster",
    "Dataset": "headrace.graph.node",
    "Graph": "headrace.graph.builder",
    "Job": "headrace.client.job",
    "JobStatus": "headrace.client.job",
    "Node": "headrace.graph.node",
    "Output": "headrace.graph.output",
    "OutputRecord": "headrace.client.catalogue",
    "Sink": "headrace.sinks.sink",
    "SinkFile": "headrace.sinks.reading",
    "delayed": "headrace.graph.task",
    "empty": "headrace.values.making",
    "empty_like": "headrace.values.making",
    "task": "headrace.graph.task",
    "zeros": "headrace.values.making",
}
"""Where each public name is defined; the errors are all in one module."""


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name not in __all__ and name != "__version__":
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    value = _version() if name == "__version__" else getattr(import_module(_HOMES.get(name, "headrace.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _version() -> str:
    from importlib.metadata import version

    return version("headrace")
