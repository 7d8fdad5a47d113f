"""`hr.Sink`: where outputs are written, as a user says it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import IO, Any

from headrace.errors import GraphError, NotPicklable
from headrace.graph.metadata import plain
from headrace.sinks.endings import ENDINGS, encoding_by_ending
from headrace.sinks.files import is_local, protocol_of
from headrace.sinks.places import parse
from headrace.text import shown_place
from headrace_schemas import SinkSpec

_NAME = re.compile(r"[A-Za-z0-9]{1,10}")


class Sink:
    """Where outputs are written, where a path alone does not say it.

    path: a folder, or a file with `{name}` or an ending in its last part; `{job}`, `{graph}`, `{name}` and the keys of the output's
    metadata (`{param}`, `{step:03d}`) are filled in. Whatever fsspec opens: a local path (relative ones are taken from here), "s3://...".
    All hosts, the publisher and the clients that read results have to reach it.
    encoding: npy, npz, nc, parquet, arrow or pickle; by default by the file's ending, or else by the value's type. netCDF files carry the
    output's metadata, and its job and task (headrace_job, headrace_task), as attributes.
    encoder: called with a value and a binary file to write it to, which may be read and searched too. It travels with the graph, like a
    task's function. `encoding` is then the ending of the files and anything of up to 10 letters and digits; a name from above says that
    the file is in that format, so that `results()` decode it. Without that, they give a `hr.SinkFile`, with the location.
    options: for the file system, as of fsspec (endpoint_url, ...). They travel in messages that operators see: leave secrets to the
    environment of hosts and clients.

    Raises GraphError for a path, an ending or an encoding that is none.
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
            raise GraphError(f"the encoder of a sink is a function of a value and a binary file, not {encoder!r:.80}")
        if encoder is None and encoding and encoding not in ENDINGS:
            raise GraphError(f"there is no encoding {encoding!r}: there are {', '.join(ENDINGS)}; give a function (encoder=) for others")
        if encoding and not _NAME.fullmatch(encoding):
            raise GraphError(f"an encoding is up to 10 letters and digits, and becomes the ending of files, not {encoding!r}")

    @classmethod
    def of(cls, sink: Sink | str | os.PathLike[str]) -> Sink:
        """The sink that is meant by a sink, or by a path alone."""
        if isinstance(sink, Sink):
            return sink
        if not isinstance(sink, str | os.PathLike):
            raise GraphError(f"a sink is a path or an hr.Sink, not {sink!r:.80}")
        return cls(sink)

    def spec(self) -> SinkSpec:
        """As it travels. Raises NotPicklable for an encoder that cannot."""
        return SinkSpec(path=self.path, encoding=self.encoding, options=self.options, encoder=self._pickled())

    def _pickled(self) -> bytes:
        if self.encoder is None:
            return b""
        from headrace.graph.functions import dumps

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
    """As they travel, which is as JSON."""
    try:
        checked: dict[str, Any] = plain(dict(options))
    except (TypeError, ValueError) as error:
        raise GraphError(f"the options of the sink {shown_place(path)!r} cannot be sent as JSON: {error}") from None
    return checked


def _absolute(path: str) -> str:
    """A local path from the root, whoever reads it; braces of the working directory are no pattern."""
    if not path:
        raise GraphError("the path of a sink is empty: give a folder")
    if not is_local(path):
        return path
    path = os.path.expanduser(path[len(protocol_of(path)) + 3 :] if protocol_of(path) else path)
    slash = "/" if path.endswith("/") else ""
    if not os.path.isabs(path):
        path = f"{os.getcwd().replace('{', '{{').replace('}', '}}')}/{path}"
    return os.path.normpath(path) + slash
