"""Writes the outputs of a job to their sinks, in the runner."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from headrace.errors import GraphError, SinkFailed
from headrace.sinks.encodings import ENCODINGS, OTHER, encoding_by_ending, encoding_for
from headrace.sinks.files import write
from headrace.sinks.places import Named, Writer, parse, part_of, place
from headrace.text import shown_place
from headrace.values import array_type
from headrace_schemas import SinkSpec, Written


class OpenSink:
    """A sink that outputs are written to. Raises what unpickling its encoder raises."""

    def __init__(self, spec: SinkSpec) -> None:
        self.spec = spec
        self.encoder: Callable[[Any, IO[bytes]], object] | None = pickle.loads(spec.encoder) if spec.encoder else None

    def write(self, value: Any, named: Named, writer: Writer) -> Written:
        """Encode a value and write it under a temporary name beside its place.

        Raises SinkFailed, which names the output and the place, from whatever went wrong.
        """
        location = self.spec.path
        try:
            encoding = encoding_of(self.spec, value)
            location = place(self.spec.path, named) + added_ending(self.spec, encoding)
            return self._write(value, location, encoding, writer, about(named))
        except Exception as error:
            text = str(error) if isinstance(error, GraphError) else f"{type(error).__name__}: {error}"
            raise SinkFailed(f"output {named.name!r} cannot be written to {shown_place(location)}: {text}") from error

    def _write(self, value: Any, location: str, encoding: str, writer: Writer, described: dict[str, Any]) -> Written:
        part = part_of(location, writer)
        if self.encoder is not None:
            receipt = write(part, self.spec.options, partial(self.encoder, value), True)
        else:
            format = ENCODINGS[encoding]
            shown = format.describe(value, described) if format.describe is not None else value
            receipt = write(part, self.spec.options, partial(format.write, shown), format.seeks)
        array = array_type(value)
        return Written(
            dataset=writer.dataset,
            attempt=writer.attempt,
            part=part,
            location=location,
            bytes=receipt.bytes,
            checksum=receipt.checksum,
            encoding=encoding,
            dtype="" if array is None else array.dtype,
            shape=None if array is None else array.shape,
        )


def about(named: Named) -> dict[str, Any]:
    """What a file says of its output, where its format has attributes: its metadata, and the job and the task that made it."""
    return {**named.metadata, "headrace_job": named.job, "headrace_task": named.name}


def encoding_of(spec: SinkSpec, value: Any) -> str:
    """The encoding of a value: as the sink says, as its file's name says, or by the value's type."""
    if spec.encoding:
        return spec.encoding
    if spec.encoder:
        return OTHER
    ending = parse(spec.path).ending
    return encoding_by_ending(ending, spec.path) if ending else encoding_for(value)


def added_ending(spec: SinkSpec, encoding: str) -> str:
    """What is added to the name of a file that has no ending: the encoding's, or, with a user's encoder, the encoding itself."""
    if parse(spec.path).ending:
        return ""
    if spec.encoder:
        return f".{spec.encoding}" if spec.encoding else ""
    return ENCODINGS[encoding].ending
