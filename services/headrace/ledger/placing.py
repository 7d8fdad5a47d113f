"""Where the files of a job's outputs are, as everybody computes it who reads of them: no name is taken from an event."""

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
    """The places of one job's outputs that go to sinks."""

    def __init__(self, job: str, spec: GraphSpec, topology: Topology, sinks: Sinks) -> None:
        self._job = job
        self._spec = msgspec.structs.replace(spec, blocks=[])  # arguments may be large, and are part of no name
        self.n_datasets = topology.n_datasets
        self._topology = topology
        self._sinks = sinks

    def sink_of(self, dataset: int) -> SinkSpec | None:
        """The sink of a dataset, if it is an output that goes to one."""
        if not 0 <= dataset < self._topology.n_datasets or not self._topology.is_output[dataset]:
            return None
        return self._sinks.of(dataset)

    def placed(self, written: Written, host: str, yielded: Mapping[str, Any]) -> Written:
        """The same, with its final and its temporary name as they are computed. yielded: metadata that came with the output.

        Raises GraphError if there can be no such file, and KeyError for what is no output in a sink.
        """
        dataset = written.dataset
        sink = self.sink_of(dataset)
        if sink is None:
            raise KeyError(dataset)
        metadata = {**dataset_metadata(self._spec, int(self._topology.producer[dataset]), dataset), **yielded}
        named = Named(self._job, self._spec.name, dataset_name(self._spec, dataset, self._topology), metadata)
        names = names_of(sink, named, written.encoding, Writer(self._job, dataset, written.attempt, host, written.write))
        return msgspec.structs.replace(written, location=names.location, part=names.part)
