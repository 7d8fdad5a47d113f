"""Pure functions behind `headrace replay`: a log as lines of text, and the state that it leads to.

`controller.replay` checks whether the controller's decisions follow from the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headrace.ledger.fold import Ledger, LogEntry
from headrace.ledger.narration import Narrator, writer


class Line(NamedTuple):
    """An entry of the log as text.

    seconds: time since the first entry. who: the service or host that wrote the entry.
    """

    seq: int
    seconds: float
    who: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.seq:>8} {self.seconds:>9.3f} s  {self.who:<12} {self.kind:<12} {self.text}"


def timeline(entries: Iterable[LogEntry]) -> list[Line]:
    """Describe each entry in one line, in log order."""
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
    """Fold all entries and return the ledger."""
    ledger = Ledger()
    for entry in entries:
        ledger.fold(entry)
    return ledger
