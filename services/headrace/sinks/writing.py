"""Writes the outputs of a job to their sinks, in the runner."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from headrace.errors import GraphError, SinkFailed
from headrace.sinks.allowed import Allowed
from headrace.sinks.encodings import ENCODINGS, encoding_for
from headrace.sinks.endings import OTHER, encoding_by_ending
from headrace.sinks.files import write
from headrace.sinks.naming import Names, added_ending, names_of
from headrace.sinks.places import Named, Writer, parse, place
from headrace.text import shown_place
from headrace.values import array_type
from headrace_schemas import SinkSpec, Written


class OpenSink:
    """A sink that is open for writing. allowed: where it may write; by default from HEADRACE_SINKS.

    Raises any exception of unpickling its encoder.
    """

    def __init__(self, spec: SinkSpec, allowed: Allowed | None = None) -> None:
        self.spec = spec
        self._allowed = Allowed.from_env() if allowed is None else allowed
        self.encoder: Callable[[Any, IO[bytes]], object] | None = pickle.loads(spec.encoder) if spec.encoder else None

    def write(self, value: Any, named: Named, writer: Writer) -> Written:
        """Encode a value and write it under a temporary name beside its place.

        Raises SinkFailed, which names the output and the place, from any error.
        """
        location = self.spec.path
        try:
            encoding = encoding_of(self.spec, value)
            location = place(self.spec.path, named) + added_ending(self.spec, encoding)
            return self._write(value, names_of(self.spec, named, encoding, writer), encoding, writer, about(named))
        except Exception as error:
            text = str(error) if isinstance(error, GraphError) else f"{type(error).__name__}: {error}"
            raise SinkFailed(f"output {named.name!r} cannot be written to {shown_place(location)}: {text}") from error

    def _write(self, value: Any, names: Names, encoding: str, writer: Writer, described: dict[str, Any]) -> Written:
        root = self._allowed.check_file(names.location)
        if self.encoder is not None:
            receipt = write(names.part, self.spec.options, partial(self.encoder, value), True, root)
        else:
            format = ENCODINGS[encoding]
            shown = format.describe(value, described) if format.describe is not None else value
            receipt = write(names.part, self.spec.options, partial(format.write, shown), format.seeks, root)
        array = array_type(value)
        return Written(
            dataset=writer.dataset,
            attempt=writer.attempt,
            write=writer.write,
            part=names.part,
            location=names.location,
            bytes=receipt.bytes,
            checksum=receipt.checksum,
            encoding=encoding,
            dtype="" if array is None else array.dtype,
            shape=None if array is None else array.shape,
        )


def about(named: Named) -> dict[str, Any]:
    """Return the attributes of an output's file, if its format has attributes: the metadata, job and task."""
    return {**named.metadata, "headrace_job": named.job, "headrace_task": named.name}


def encoding_of(spec: SinkSpec, value: Any) -> str:
    """Return the encoding of a value: that of the sink, or of its file's extension, or of the value's type."""
    if spec.encoding:
        return spec.encoding
    if spec.encoder:
        return OTHER
    ending = parse(spec.path).ending
    return encoding_by_ending(ending, spec.path) if ending else encoding_for(value)
