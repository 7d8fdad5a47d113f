"""Reads outputs back from sinks, and verifies their checksums."""

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
    """The file of an output that a user's encoder wrote, returned instead of a value, because only the user knows how to decode it.

    location: a path or URL. bytes: its size. checksum: "sha256:" and the hexadecimal digest. encoding: that of the sink.
    """

    location: str
    bytes: int
    checksum: str
    encoding: str
    options: Options = field(default_factory=dict, repr=False)

    def read(self) -> memoryview:
        """Return the file's bytes. Raises CorruptOutput if the file was changed after it was written, and the errors of the file system."""
        return read_bytes(self.location, self.bytes, self.checksum, self.options)


def read(location: str, nbytes: int, checksum: str, encoding: str, options: Options) -> Any:
    """Return the value of a published output, or a SinkFile if a user's encoder wrote a format without a decoder.

    Arrays of .npy files are read-only views of the memory that the file was read into. It unpickles pickles: read only what a job of
    your own cluster has published. options: of its sink, for the file system.

    Raises CorruptOutput if the file was changed after it was written, MissingLibrary, and the errors of the file system or decoder.
    """
    known = ENCODINGS.get(encoding)
    if known is None:
        return SinkFile(location, nbytes, checksum, encoding, options)
    return known.read(read_bytes(location, nbytes, checksum, options))


def read_bytes(location: str, nbytes: int, checksum: str, options: Options) -> memoryview:
    """Return the bytes of a published output, verified, and aligned for arrays that are views of them. Errors as for `read`."""
    data = aligned_memory(nbytes)
    found = read_into(data, location, options)
    if found != nbytes:
        size = f"more than {nbytes}" if found > nbytes else str(found)
        raise CorruptOutput(f"{shown_place(location)} was changed after it was written: it has {size} bytes instead of {nbytes}. {_ADVICE}")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if digest != checksum:
        raise CorruptOutput(
            f"{shown_place(location)} was changed after it was written: its checksum is {digest} instead of {checksum}. {_ADVICE}"
        )
    return data.toreadonly()


_ADVICE = "Submit the graph again, or let each job write to its own places ({job} in the sink's path)"
