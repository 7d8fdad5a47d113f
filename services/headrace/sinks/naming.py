"""The names of a file in a sink: the one that it is to have, and the temporary one under which it is written. Pure.

Who writes an output and who commits it both compute these names, from the job's sink, the output's name and metadata and the write itself.
Neither takes a name from a message: a name in one could lead anywhere.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from headrace.errors import GraphError
from headrace.sinks.endings import ENDINGS, OTHER, encoding_by_ending
from headrace.sinks.places import Named, Writer, parse, part_of, place, plain
from headrace.text import shown_place
from headrace_schemas import SinkSpec

_WRITE = re.compile(r"[0-9A-Za-z]{1,32}(\.[0-9A-Za-z]{1,32}){0,3}")


class Names(NamedTuple):
    """location: where the file is to be. part: the temporary name beside it."""

    location: str
    part: str


def names_of(sink: SinkSpec, named: Named, encoding: str, writer: Writer) -> Names:
    """The names of what this writer writes. Raises GraphError if the output's metadata lacks what the path needs, for an encoding that is
    not the sink's, and for a write that is none."""
    _check_encoding(sink, encoding)
    if not _WRITE.fullmatch(writer.write):
        raise GraphError(f"the host does not say which write of output {named.name!r} it was, but {writer.write!r:.80}: upgrade that host")
    location = plain(place(sink.path, named)) + added_ending(sink, encoding)
    return Names(location, part_of(location, writer))


def added_ending(sink: SinkSpec, encoding: str) -> str:
    """What is added to the name of a file that has no ending: the encoding's, or, with a user's encoder, the encoding itself."""
    if parse(sink.path).ending:
        return ""
    if sink.encoder:
        return f".{sink.encoding}" if sink.encoding else ""
    return ENDINGS[encoding]


def _check_encoding(sink: SinkSpec, encoding: str) -> None:
    """Raises GraphError unless a value may have this encoding in this sink."""
    ending = parse(sink.path).ending
    wanted = sink.encoding or (OTHER if sink.encoder else encoding_by_ending(ending, sink.path) if ending else "")
    if encoding != wanted if wanted else encoding not in ENDINGS:
        raise GraphError(
            f"the sink {shown_place(sink.path)!r} has files of the encoding {wanted or ', '.join(ENDINGS)}, not {encoding!r:.80}"
        )
