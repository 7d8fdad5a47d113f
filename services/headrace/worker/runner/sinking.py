"""Outputs that go to sinks, at the runner that makes them."""

from __future__ import annotations

import itertools
import os
from typing import Any

from headrace.graph.naming import dataset_metadata, dataset_name
from headrace.graph.sinks import Sinks
from headrace.graph.topology import Topology
from headrace.sinks.places import Named, Writer
from headrace.sinks.writing import OpenSink
from headrace.worker.protocol import SinksOfJob
from headrace_schemas import GraphSpec, SinkSpec, Written

_writes = itertools.count()
"""Of this process: with its id, and the host's epoch, each write has a name of its own."""


class SinkWriter:
    """The sinks of one job."""

    def __init__(self, job: SinksOfJob, spec: GraphSpec) -> None:
        self._job = job
        self._spec = spec
        self._sinks = Sinks.of_job(spec, job.sink)
        self._outputs = frozenset(spec.outputs)
        self._topology = Topology.from_spec(spec) if spec.n_outputs else None
        self._open: dict[int, OpenSink] = {}

    def sink_of(self, dataset: int) -> SinkSpec | None:
        """The sink of a dataset; None if it has none."""
        return self._sinks.of(dataset) if dataset in self._outputs else None

    def write(self, sink: SinkSpec, dataset: int, task: int, attempt: int, value: Any, yielded: dict[str, Any] | None) -> Written:
        """Encode and write an output, with its metadata in its place's name. Raises SinkFailed."""
        metadata = {**dataset_metadata(self._spec, task, dataset), **(yielded or {})}
        named = Named(self._job.name, self._spec.name, dataset_name(self._spec, dataset, self._topology), metadata)
        nonce = f"{os.getpid()}.{next(_writes)}"
        writer = Writer(self._job.name, dataset, attempt, self._job.host, f"{self._job.epoch}.{nonce}")
        return self._opened(sink).write(value, named, writer)

    def _opened(self, sink: SinkSpec) -> OpenSink:
        found = self._open.get(id(sink))
        if found is None:
            found = self._open[id(sink)] = OpenSink(sink)
        return found
