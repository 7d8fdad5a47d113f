"""Outputs read back from where a sink put them, checked against their checksums."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from headrace.errors import CorruptOutput
from headrace.sinks.encodings import ENCODINGS
from headrace.sinks.files import Options, read_into
from headrace.text import shown_place
from headrace.values.memory import aligned_memory


@dataclass(frozen=True)
class SinkFile:
    """An output that a user's encoder wrote: where it is, instead of a value, for only its user knows how to decode it.

    location: a path or URL. bytes: its size. checksum: "sha256:" and the hexadecimal digest. encoding: what the sink was told it is.
    """

    location: str
    bytes: int
    checksum: str
    encoding: str
    options: Options = field(default_factory=dict, repr=False)

    def read(self) -> memoryview:
        """The file's bytes. Raises CorruptOutput if they are not those that were written, and what the file system raises."""
        return read_bytes(self.location, self.bytes, self.checksum, self.options)


def read(location: str, nbytes: int, checksum: str, encoding: str, options: Options) -> Any:
    """The value of a published output; a SinkFile where a user's encoder wrote something that has no decoder here.

    Arrays of .npy files are read-only views of the memory that the file was read into. It unpickles pickles: read what a job of one's own
    cluster has published. options: of its sink, for the file system.

    Raises CorruptOutput if the file is not the one that was written, MissingLibrary, and what the file system or the decoder raises.
    """
    known = ENCODINGS.get(encoding)
    if known is None:
        return SinkFile(location, nbytes, checksum, encoding, options)
    return known.read(read_bytes(location, nbytes, checksum, options))


def read_bytes(location: str, nbytes: int, checksum: str, options: Options) -> memoryview:
    """The bytes of a published output, checked, and aligned for the arrays that are views of them. Errors as of `read`."""
    data = aligned_memory(nbytes)
    found = read_into(data, location, options)
    if found != nbytes:
        size = f"more than {nbytes}" if found > nbytes else str(found)
        raise CorruptOutput(f"{shown_place(location)} has {size} bytes, and {nbytes} were written: it was changed since. {_ADVICE}")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if digest != checksum:
        raise CorruptOutput(
            f"{shown_place(location)} has the checksum {digest}, and {checksum} was written: it was changed since. {_ADVICE}"
        )
    return data.toreadonly()


_ADVICE = "Submit the graph again, or have each job write to places of its own ({job} in the sink's path)"
