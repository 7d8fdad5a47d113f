"""What tasks print, as records of the log: a line each, with job and task, in the log's format."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from headrace.logs import About, Event

_LOGGER = "headrace.printed"
MOST_CHARACTERS = 64 * 1024
"""A line that has got so long is written before it ends."""


class Printed(io.TextIOBase):
    """Stands for standard output or standard error of a runner. Binary output, and that of other processes, is not tagged."""

    def __init__(self, stream: str, under: TextIO, about: About) -> None:
        self._stream = stream
        self._under = under
        self._about = about
        self._log = logging.getLogger(_LOGGER)
        self._log.setLevel(logging.INFO)  # what a person prints is to be seen, whatever else is
        self._here = _Here()

    def write(self, text: str) -> int:
        """Write what makes whole lines; the rest waits for the line's end, or for another task to print."""
        here = self._here
        if here.busy:  # the log itself complains
            return self._under.write(text)
        about = dict(self._about())
        if here.text and here.about != about:
            self._write(here.text, here.about)
            here.text = ""
        *lines, rest = (here.text + text).split("\n")
        for line in lines:
            self._write(line, about)
        here.text, here.about = rest.rpartition("\r")[2], about  # a progress bar writes over itself
        if len(here.text) > MOST_CHARACTERS:
            self.end_line()
        return len(text)

    def end_line(self) -> None:
        """Write what this thread has printed of a line without an end."""
        here = self._here
        if here.text:
            text, here.text = here.text, ""
            self._write(text, here.about)

    def _write(self, line: str, about: Mapping[str, Any]) -> None:
        line = line.rstrip("\r").rpartition("\r")[2]
        if not line:
            return
        self._here.busy = True
        try:
            self._log.info(Event(line, {**about, "stream": self._stream}))
        finally:
            self._here.busy = False

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def fileno(self) -> int:
        """The file below, for processes that a task starts."""
        return self._under.fileno()

    def reconfigure(self, **_: Any) -> None:
        """Change nothing: lines go to the log as text."""

    @property
    def buffer(self) -> Any:
        """The binary file below."""
        return self._under.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the file below."""
        return self._under.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """How the file below treats what it cannot encode."""
        return self._under.errors


class _Here(threading.local):
    """What a thread has printed of a line, what it was about, and whether the thread is writing to the log just now."""

    text = ""
    about: Mapping[str, Any] = {}
    busy = False


def tag_output(about: About) -> list[Printed]:
    """Have this process' standard output and standard error written to the log, with keys that say what they are about."""
    made = [Printed(name, under, about) for name in ("stdout", "stderr") if (under := getattr(sys, name)) is not None]
    for printed in made:
        setattr(sys, printed._stream, printed)
    return made
