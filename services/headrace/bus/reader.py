"""Splits what arrives on a connection into messages. Each goes straight to its sink, and everything else to nats-py.

Pure: it takes bytes in pieces of any size, and calls functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headrace.logs import get_log

log = get_log(__name__)

Sink = Callable[[bytes, bytes, bytes, bytes], None]
"""A function that is called with subject, reply subject, data and raw headers. Its exceptions are logged."""


class Reader:
    """The reader of one connection.

    sinks: functions by subscription number. others: gets everything else, in complete lines or messages. done: called at the end of each
    `feed`.
    """

    __slots__ = ("_done", "_missing", "_others", "_part", "_sinks")

    def __init__(self, sinks: Mapping[int, Sink], others: Callable[[bytes], None], done: Callable[[], None]) -> None:
        self._sinks = sinks
        self._others = others
        self._done = done
        self._part: list[bytes] = []
        """The beginning of an incomplete message, in pieces, of which at least `_missing` bytes are to come."""
        self._missing = 0

    def feed(self, data: bytes) -> None:
        """Process data that was read from the socket."""
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
        """Pass on all complete messages. Returns the offset of the rest."""
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
                        log.exception("a message cannot be processed", subject=words[1].decode(errors="replace"))
                    at = end
                    continue
            self._others(data[at:end])
            at = end
        self._missing = 1
        return at
