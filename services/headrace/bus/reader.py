"""What comes on a connection, cut into messages: each goes straight to its sink, everything else to nats-py.

Pure: bytes go in, in whatever pieces, and functions are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headrace.logs import get_log

log = get_log(__name__)

Sink = Callable[[bytes, bytes, bytes, bytes], None]
"""Called with subject, reply subject, data and raw headers. What it raises is logged."""


class Reader:
    """Reads one connection. `sinks` by number of subscription; `others` gets, whole, what is none of theirs; `done` ends each `feed`."""

    __slots__ = ("_done", "_missing", "_others", "_part", "_sinks")

    def __init__(self, sinks: Mapping[int, Sink], others: Callable[[bytes], None], done: Callable[[], None]) -> None:
        self._sinks = sinks
        self._others = others
        self._done = done
        self._part: list[bytes] = []
        """The beginning of something, in pieces, of which `_missing` bytes at least are to come."""
        self._missing = 0

    def feed(self, data: bytes) -> None:
        """Take in what was read from the socket."""
        if self._part:
            self._part.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._part)
            self._part.clear()
        at = self._messages(data)
        if at < len(data):
            self._part.append(data[at:])
        self._done()

    def _messages(self, data: bytes) -> int:
        """Pass on everything that is whole. Returns where the rest begins."""
        sinks, at, size = self._sinks, 0, len(data)
        while (line_end := data.find(b"\r\n", at)) >= 0:
            words = data[at:line_end].split()
            start = end = line_end + 2
            if words and words[0] in (b"MSG", b"HMSG"):
                end += int(words[-1]) + 2
                if end > size:
                    self._missing = end - size
                    return at
                sink = sinks.get(int(words[2]))
                if sink is not None:
                    body = start if words[0] == b"MSG" else start + int(words[-2])
                    reply = words[3] if len(words) == (5 if body == start else 6) else b""
                    try:
                        sink(words[1], reply, data[body : end - 2], data[start:body])
                    except Exception:
                        log.exception("a message cannot be taken", subject=words[1].decode(errors="replace"))
                    at = end
                    continue
            self._others(data[at:end])
            at = end
        self._missing = 1
        return at
