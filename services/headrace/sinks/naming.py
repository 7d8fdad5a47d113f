"""The final and the temporary name of a file in a sink. Pure.

The runner that writes an output and the publisher that commits it both compute these names, from the job's sink, the output's name and
metadata, and the write. Neither takes a name from a message, because that name could lead anywhere.
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
    """location: the final path of the file. part: the temporary path, in the same folder."""

    location: str
    part: str


def names_of(sink: SinkSpec, named: Named, encoding: str, writer: Writer) -> Names:
    """Return the names of a writer's file.

    Raises GraphError if the output's metadata lacks a key of the path, for an encoding that the sink does not have, and for an invalid
    write.
    """
    _check_encoding(sink, encoding)
    if not _WRITE.fullmatch(writer.write):
        raise GraphError(f"the host sent {writer.write!r:.80} as the write of output {named.name!r}, which is invalid: upgrade that host")
    location = plain(place(sink.path, named)) + added_ending(sink, encoding)
    return Names(location, part_of(location, writer))


def added_ending(sink: SinkSpec, encoding: str) -> str:
    """Return the extension to add to a file name without one: that of the encoding, or, with a user's encoder, the encoding itself."""
    if parse(sink.path).ending:
        return ""
    if sink.encoder:
        return f".{sink.encoding}" if sink.encoding else ""
    return ENDINGS[encoding]


def _check_encoding(sink: SinkSpec, encoding: str) -> None:
    """Raise GraphError unless the sink may have files of this encoding."""
    ending = parse(sink.path).ending
    wanted = sink.encoding or (OTHER if sink.encoder else encoding_by_ending(ending, sink.path) if ending else "")
    if encoding != wanted if wanted else encoding not in ENDINGS:
        raise GraphError(
            f"the sink {shown_place(sink.path)!r} has files of the encoding {wanted or ', '.join(ENDINGS)}, not {encoding!r:.80}"
        )
