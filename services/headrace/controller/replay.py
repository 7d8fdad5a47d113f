"""Makes every decision of the controller again from the log, and compares it with the one recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from headrace.controller.settings import Limits
from headrace.controller.state import DECIDED, Controller, Decided
from headrace.ledger import LogEntry
from headrace.ledger.narration import Narrator


class Recorded(NamedTuple):
    """A decision as it is in the log, and its sequence there."""

    seq: int
    decision: Decided


Groups = dict[int, list[Recorded]]
"""at -> the decisions recorded with it."""


class Difference(NamedTuple):
    """Where the log and what follows from it part. at, term: as recorded. seq: of the recorded decision; 0 for one that is missing."""

    at: int
    term: int
    seq: int
    decision: Decided

    def __str__(self) -> str:
        what = f"{self.decision.__struct_config__.tag} of job {self.decision.job}: {Narrator().describe(self.decision)}"
        if self.seq:
            return f"entry {self.seq} (term {self.term}) records a decision that does not follow from the log up to {self.at}: {what}"
        return f"from the log up to {self.at} follows a decision (term {self.term}) that is not recorded: {what}"


def check(entries: Sequence[LogEntry], limits: Limits | None = None) -> list[Difference]:
    """Every difference between the recorded decisions and those that follow; none if the log is sound.

    entries: the whole log, or everything of some jobs and of all hosts, in order. limits: of the controller that wrote it.

    Each term is replayed as its controller lived it: it took in what others had written before it led, and decided from then on. What it
    decided last may be recorded in part, for it may have ended between two messages. (If it lost its connection, and then ended before it
    had sent again what was lost, later decisions are in the log without an earlier one: that is reported too.)
    """
    by_term: dict[int, Groups] = {}
    for entry in entries:
        message = entry.message
        if isinstance(message, DECIDED):
            by_term.setdefault(message.term, {}).setdefault(message.at, []).append(Recorded(entry.seq, message))
    return [difference for term in sorted(by_term) for difference in _check_term(entries, term, by_term[term], limits)]


def _check_term(entries: Sequence[LogEntry], term: int, groups: Groups, limits: Limits | None) -> list[Difference]:
    controller = Controller(term, limits)
    differences: list[Difference] = []
    folded = 0
    for at in sorted(groups):
        while folded < len(entries) and entries[folded].seq <= at:
            controller.fold(entries[folded])
            folded += 1
        differences += _compare(groups[at], controller.decide(at), at, term, last=at == max(groups))
    return differences


def _compare(recorded: list[Recorded], follows: list[Decided], at: int, term: int, last: bool) -> list[Difference]:
    expected = Counter(map(_canonical, follows))
    differences: list[Difference] = []
    for text, entry in {_canonical(entry.decision): entry for entry in recorded}.items():
        if expected[text]:
            expected[text] -= 1
        else:
            differences.append(Difference(at, term, entry.seq, entry.decision))
    if not last:
        missing = +expected
        differences += [Difference(at, term, 0, decision) for decision in follows if _canonical(decision) in missing]
    return differences


def _canonical(decision: Any) -> bytes:
    """A decision without its stamps and words, equal for equal decisions. A message that is in the log twice is one decision."""
    fields = msgspec.to_builtins(decision)
    for stamp in ("v", "at", "term", "about"):
        fields.pop(stamp, None)
    return msgspec.json.encode(fields, order="sorted")
