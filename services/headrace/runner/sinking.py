"""Writes outputs to their sinks, in the runner that makes them."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.graph.naming import dataset_metadata
from headrace.graph.sinks import Sinks
from headrace.runner.protocol import SinksOfJob
from headrace.sinks.places import Named, Writer
from headrace.sinks.writing import OpenSink
from headrace_schemas import GraphSpec, SinkSpec, Written

if TYPE_CHECKING:
    from headrace.runner.job import RunnerJob

_writes = itertools.count()
"""Numbers the writes of this process. With its id and the host's epoch, each write gets a name of its own."""


def _as_sent(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata as its readers see it, for they compute the same path from it. An `IntEnum`, say, is sent as a number."""
    sent: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(metadata))
    return sent


class SinkWriter:
    """The sinks of one job."""

    def __init__(self, job: SinksOfJob, spec: GraphSpec) -> None:
        self._job = job
        self._sinks = Sinks.of_job(spec, job.sink)
        self._open: dict[int, OpenSink] = {}

    def sink_of(self, output: int) -> SinkSpec | None:
        """Return the sink of an output of the job; None if it has none."""
        return self._sinks.of(output)

    def write(
        self, sink: SinkSpec, job: RunnerJob, dataset: int, task: int, attempt: int, value: Any, yielded: dict[str, Any] | None
    ) -> Written:
        """Encode an output and write it to a path that its metadata determines. yielded: metadata that the task gave. Raises SinkFailed."""
        metadata = _as_sent({**dataset_metadata(job.spec, task, dataset), **(yielded or {})})
        named = Named(self._job.name, job.spec.name, job.dataset_name(dataset), metadata)
        nonce = f"{os.getpid()}.{next(_writes)}"
        writer = Writer(self._job.name, dataset, attempt, self._job.host, f"{self._job.epoch}.{nonce}")
        return self._opened(sink).write(value, named, writer)

    def _opened(self, sink: SinkSpec) -> OpenSink:
        found = self._open.get(id(sink))
        if found is None:
            found = self._open[id(sink)] = OpenSink(sink)
        return found
