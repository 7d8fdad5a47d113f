"""Writes what tasks print to the log: one record per line, with job and task."""

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
"""A line of this length is written before it ends."""


class Printed(io.TextIOBase):
    """Stands for standard output or standard error of a runner. Binary output, and that of other processes, is not tagged."""

    def __init__(self, stream: str, under: TextIO, about: About) -> None:
        self._stream = stream
        self._under = under
        self._about = about
        self._log = logging.getLogger(_LOGGER)
        self._log.setLevel(logging.INFO)  # what a task prints is shown at every log level
        self._here = _Here()

    def write(self, text: str) -> int:
        """Write whole lines. The rest waits for the end of its line, or until another task prints."""
        here = self._here
        if here.busy:  # the log writes an error of its own
            return self._under.write(text)
        about = dict(self._about())
        if here.text and here.about != about:
            self._write(here.text, here.about)
            here.text = ""
        *lines, rest = (here.text + text).split("\n")
        for line in lines:
            self._write(line, about)
        here.text, here.about = rest.rpartition("\r")[2], about  # a progress bar overwrites its line
        if len(here.text) > MOST_CHARACTERS:
            self.end_line()
        return len(text)

    def end_line(self) -> None:
        """Write the beginning of a line that this thread has printed."""
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
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the underlying file, for processes that a task starts."""
        return self._under.fileno()

    def reconfigure(self, **_: Any) -> None:
        """Ignore the request: lines go to the log as text."""

    @property
    def buffer(self) -> Any:
        """The underlying binary file."""
        return self._under.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the underlying file."""
        return self._under.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What the underlying file does with characters that it cannot encode."""
        return self._under.errors


class _Here(threading.local):
    """The line that a thread has begun, the job and task that printed it, and whether the thread is writing to the log."""

    text = ""
    about: Mapping[str, Any] = {}
    busy = False


def tag_output(about: About) -> list[Printed]:
    """Write this process's standard output and standard error to the log. about: returns the job and the task to name in a record."""
    made = [Printed(name, under, about) for name in ("stdout", "stderr") if (under := getattr(sys, name)) is not None]
    for printed in made:
        setattr(sys, printed._stream, printed)
    return made
