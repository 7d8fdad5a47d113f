"""`hr.Sink`: the place and the format of outputs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import IO, Any

from headrace.errors import GraphError, NotPicklable
from headrace.metadata import plain
from headrace.sinks.endings import ENDINGS, encoding_by_ending
from headrace.sinks.files import is_local, protocol_of
from headrace.sinks.places import parse
from headrace.text import shown_place
from headrace_schemas import SinkSpec

_NAME = re.compile(r"[A-Za-z0-9]{1,10}")


class Sink:
    """The place where outputs are written, and their format, if a path alone is not enough.

    path: a folder, or a file with `{name}` or an extension in its last part. Headrace fills in `{job}`, `{graph}`, `{name}` and the keys of
    the output's metadata (`{param}`, `{step:03d}`). A local path (a relative one starts at the client's working directory), or a URL that
    fsspec can open, like "s3://...". All hosts, the publisher and clients that read results must be able to reach it.
    encoding: npy, npz, nc, parquet, arrow or pickle; by default the file's extension decides, or else the value's type. netCDF files have
    the output's metadata, job and task (headrace_job, headrace_task) as attributes.
    encoder: a function that takes a value and a binary file, and writes the value to it; it may also read the file and seek in it. It is
    sent with the graph, like a task's function. `encoding` is then the extension of the files, with up to 10 letters and digits. If it is
    one of the names above, `results()` decodes the files; otherwise it returns an `hr.SinkFile`, with the location.
    options: options of fsspec's file system (endpoint_url, ...). They are sent in messages that operators can read: keep secrets in the
    environment of hosts and clients.

    Raises GraphError for an invalid path, extension, encoding, encoder or options.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        encoding: str = "",
        encoder: Callable[[Any, IO[bytes]], object] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = _absolute(os.fspath(path))
        self.encoding = encoding
        self.encoder = encoder
        self.options = _checked_options(options or {}, self.path)
        ending = parse(self.path).ending
        if ending and not encoding and encoder is None:
            encoding_by_ending(ending, self.path)
        if encoder is not None and not callable(encoder):
            raise GraphError(f"the encoder of a sink is {encoder!r:.80}: give a function of a value and a binary file")
        if encoder is None and encoding and encoding not in ENDINGS:
            raise GraphError(f"{encoding!r} is not an encoding: choose from {', '.join(ENDINGS)}, or give a function (encoder=)")
        if encoding and not _NAME.fullmatch(encoding):
            raise GraphError(f"{encoding!r} cannot be the extension of files: give an encoding of up to 10 letters and digits")

    @classmethod
    def of(cls, sink: Sink | str | os.PathLike[str]) -> Sink:
        """Make a sink from a path, or return the given sink."""
        if isinstance(sink, Sink):
            return sink
        if not isinstance(sink, str | os.PathLike):
            raise GraphError(f"{sink!r:.80} is not a sink: give a path or an hr.Sink")
        return cls(sink)

    def spec(self) -> SinkSpec:
        """Return the sink as part of a message. Raises NotPicklable for an encoder that cannot be pickled."""
        return SinkSpec(path=self.path, encoding=self.encoding, options=self.options, encoder=self._pickled())

    def _pickled(self) -> bytes:
        if self.encoder is None:
            return b""
        from headrace.pickling.portable import dumps

        try:
            return dumps(self.encoder)
        except Exception as error:
            raise NotPicklable(
                f"the encoder {self.encoder!r:.80} of the sink {shown_place(self.path)!r} cannot be pickled: {error}. "
                "Define it at the top of a module"
            ) from error

    def __repr__(self) -> str:
        return f"hr.Sink({shown_place(self.path)!r}{f', {self.encoding!r}' if self.encoding else ''})"


def _checked_options(options: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Convert the options to JSON values."""
    try:
        checked: dict[str, Any] = plain(dict(options))
    except (TypeError, ValueError) as error:
        raise GraphError(f"the options of the sink {shown_place(path)!r} cannot be sent as JSON: {error}") from None
    return checked


def _absolute(path: str) -> str:
    """Make a local path absolute. Braces in the working directory are escaped, since they are not part of a pattern."""
    if not path:
        raise GraphError("the path of a sink is empty: give a folder")
    if not is_local(path):
        return path
    path = os.path.expanduser(path[len(protocol_of(path)) + 3 :] if protocol_of(path) else path)
    slash = "/" if path.endswith("/") else ""
    if not os.path.isabs(path):
        path = f"{os.getcwd().replace('{', '{{').replace('}', '}}')}/{path}"
    return os.path.normpath(path) + slash
