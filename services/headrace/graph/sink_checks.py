"""Checks of a graph's sinks, as far as the client can tell before the graph runs."""

from __future__ import annotations

from headrace.errors import GraphError
from headrace.graph.naming import dataset_metadata, dataset_name
from headrace.graph.sinks import Sinks
from headrace.graph.topology import Topology
from headrace.sinks.encodings import ENCODINGS
from headrace.sinks.files import protocol_of
from headrace.sinks.naming import added_ending
from headrace.sinks.places import Named, parse, place
from headrace.text import shown_place
from headrace_schemas import GraphSpec, SinkSpec

REFUSED = {
    "memory": "it is the memory of one process, which no other process can read",
    "http": "it is read-only",
    "https": "it is read-only",
    "data": "it is read-only",
}
"""Protocols of fsspec that cannot be sinks, with the reason."""


def check_sinks(spec: GraphSpec, sink: SinkSpec | None, job: str) -> None:
    """Check that the outputs of a graph can be written to its sinks.

    Raises GraphError, which names the output, for a file system that cannot be opened here, for a key that the output's metadata does not
    have, and for two outputs with the same path.
    """
    if sink is None and not spec.sinks:
        return
    for each in (*spec.sinks, *((sink,) if sink is not None else ())):
        _check_protocol(each.path)
    _check_places(spec, Sinks.of_job(spec, sink), job)


def _check_protocol(path: str) -> None:
    import fsspec

    protocol = protocol_of(path)
    if "::" in path:
        raise GraphError(
            f"the sink {shown_place(path)!r} chains file systems ('::'), to which several hosts cannot write: give a single file system"
        )
    if protocol in REFUSED:
        raise GraphError(f"{protocol}:// cannot be a sink: {REFUSED[protocol]}. Use a folder that all hosts share, or an object store")
    try:
        fsspec.get_filesystem_class(protocol or "file")
    except (ValueError, ImportError) as error:
        raise GraphError(f"the sink {shown_place(path)!r} cannot be opened: {error} (here and on the hosts)") from error


def _check_places(spec: GraphSpec, sinks: Sinks, job: str) -> None:
    """Check the place of each output. If its metadata is known only when it is yielded, its place is checked when it is written."""
    topology = Topology.from_spec(spec)
    taken: dict[str, str] = {}
    for dataset in spec.outputs:
        sink = sinks.of(dataset)
        if sink is None:
            continue
        name = dataset_name(spec, dataset, topology)
        task = int(topology.producer[dataset])
        if spec.functions[spec.function[task]].generator and parse(sink.path).keys:
            continue
        stem = place(sink.path, Named(job, spec.name, name, dataset_metadata(spec, task, dataset)))
        for location in _locations(sink, stem):
            other = taken.setdefault(location, name)
            if other != name:
                raise GraphError(
                    f"outputs {other!r} and {name!r} would both be written to {shown_place(location)}: "
                    "put {name} or metadata that tells them apart into the path of their sink"
                )


def _locations(sink: SinkSpec, stem: str) -> list[str]:
    """Return every place that an output may have: its encoding is known only with its value."""
    encodings = [sink.encoding] if sink.encoding or sink.encoder or parse(sink.path).ending else ENCODINGS
    return [stem + added_ending(sink, encoding) for encoding in encodings]
