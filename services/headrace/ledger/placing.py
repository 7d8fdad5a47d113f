"""The locations of a job's output files. Every reader of the log computes them; an event that names a path is not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.graph.naming import dataset_metadata, dataset_name
from headrace.graph.sinks import Sinks
from headrace.graph.topology import Topology
from headrace.sinks.naming import names_of
from headrace.sinks.places import Named, Writer
from headrace_schemas import GraphSpec, SinkSpec, Written


class Placing:
    """The locations of one job's outputs in sinks."""

    def __init__(self, job: str, spec: GraphSpec, topology: Topology, sinks: Sinks) -> None:
        self._job = job
        self._spec = msgspec.structs.replace(spec, blocks=[])  # arguments may be large, and no name depends on them
        self.n_datasets = topology.n_datasets
        self._topology = topology
        self._sinks = sinks

    def sink_of(self, dataset: int) -> SinkSpec | None:
        """Return the sink of a dataset, or None if the dataset is not an output that goes to a sink."""
        if not 0 <= dataset < self._topology.n_datasets or not self._topology.is_output[dataset]:
            return None
        return self._sinks.of(dataset)

    def placed(self, written: Written, host: str, yielded: Mapping[str, Any]) -> Written:
        """Return the report with the computed final and temporary paths. yielded: the metadata that came with the output.

        Raises GraphError if the sink's path template gives no valid path, and KeyError if the dataset is not an output in a sink.
        """
        dataset = written.dataset
        sink = self.sink_of(dataset)
        if sink is None:
            raise KeyError(dataset)
        metadata = {**dataset_metadata(self._spec, int(self._topology.producer[dataset]), dataset), **yielded}
        named = Named(self._job, self._spec.name, dataset_name(self._spec, dataset, self._topology), metadata)
        names = names_of(sink, named, written.encoding, Writer(self._job, dataset, written.attempt, host, written.write))
        return msgspec.structs.replace(written, location=names.location, part=names.part)
