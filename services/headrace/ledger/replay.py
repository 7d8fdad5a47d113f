"""A log read again: what happened, line by line, and where it led. Pure functions over entries; the command line prints what they return.

Whether the controller's decisions follow from the log is checked by `controller.replay`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headrace.ledger.fold import Ledger, LogEntry
from headrace.ledger.narration import Narrator, writer


class Line(NamedTuple):
    """One entry of the log for people. seconds: since the first entry. who: the service or host that wrote it."""

    seq: int
    seconds: float
    who: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.seq:>8} {self.seconds:>9.3f} s  {self.who:<12} {self.kind:<12} {self.text}"


def timeline(entries: Iterable[LogEntry]) -> list[Line]:
    """What each entry says, in the order of the log."""
    lines: list[Line] = []
    start: float | None = None
    narrator = Narrator()
    for entry in entries:
        start = entry.time if start is None else start
        message = entry.message
        kind = str(message.__struct_config__.tag)
        lines.append(Line(entry.seq, entry.time - start, writer(message), kind, narrator.describe(message)))
    return lines


def final_state(entries: Iterable[LogEntry]) -> Ledger:
    """What is true after the last entry."""
    ledger = Ledger()
    for entry in entries:
        ledger.fold(entry)
    return ledger
