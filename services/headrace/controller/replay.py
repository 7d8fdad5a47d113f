"""The check of a log: makes every decision of the controller again, and compares it with the recorded one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from headrace.controller.settings import Limits
from headrace.controller.state import DECIDED, Controller, Decided
from headrace.ledger import LogEntry
from headrace.ledger.narration import Narrator
from headrace_schemas import Events, Needed, Purge


class Recorded(NamedTuple):
    """A decision in the log, with its sequence."""

    seq: int
    decision: Decided


Groups = dict[int, list[Recorded]]
"""The recorded decisions by their `at`."""


class Difference(NamedTuple):
    """A decision that is recorded and does not follow from the log, or the other way around.

    at, term: those of the decision. seq: the sequence of the recorded decision; 0 if it is missing from the log.
    """

    at: int
    term: int
    seq: int
    decision: Decided

    def __str__(self) -> str:
        what = f"{self.decision.__struct_config__.tag} of job {self.decision.job}: {Narrator().describe(self.decision)}"
        if self.seq:
            return f"entry {self.seq} (term {self.term}) records a decision that does not follow from the log up to {self.at}: {what}"
        return f"a decision (term {self.term}) that follows from the log up to {self.at} is not recorded: {what}"


def check(entries: Sequence[LogEntry], limits: Limits | None = None) -> list[Difference]:
    """Find every difference between the recorded decisions and those that follow from the log. A sound log has none.

    entries: the whole log, or all messages of some jobs and of all hosts, in log order. limits: those of the controller that wrote it.

    Each term is replayed from the view of its controller, which folded earlier entries without deciding, and decided from its first
    decision on. The last decisions of a term may be incomplete, since a controller may end between two messages. One case is reported as a
    difference though the decisions were right: a controller lost its connection, and ended before it had sent the lost messages again.

    The log does not say when a controller forgot a finished job. If a host lists datasets of such a job, a controller that remembers the
    job may decide otherwise than one that has forgotten it, which purges the whole list. Both decisions are accepted.
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
    lists: set[_List] = set()
    folded = 0
    for at in sorted(groups):
        while folded < len(entries) and entries[folded].seq <= at:
            controller.fold(entries[folded])
            lists |= _lists_in(entries[folded])
            folded += 1
        found = _compare(groups[at], controller.decide(at), at, term, last=at == max(groups))
        differences += _without_forgotten(found, controller, lists)
    return differences


_List = tuple[str, str, int, tuple[int, ...]]
"""The job, host and epoch of a list of a host that joins again, and the datasets in ascending order."""


def _lists_in(entry: LogEntry) -> set[_List]:
    events = entry.message
    if not isinstance(events, Events) or not events.rejoining or not events.produced:
        return set()
    return {(events.job, events.host, events.epoch, tuple(sorted({*events.produced})))}


def _without_forgotten(found: list[Difference], controller: Controller, lists: set[_List]) -> list[Difference]:
    """Leave out the differences of jobs that the controller had forgotten, and forget these jobs from here on."""
    disowned = [difference for difference in found if _is_disowned(difference, controller, lists)]
    forgotten = {difference.decision.job for difference in disowned}
    for job in forgotten:
        controller.forget(job)
    return [each for each in found if each not in disowned and (each.seq or each.decision.job not in forgotten)]


def _is_disowned(difference: Difference, controller: Controller, lists: set[_List]) -> bool:
    """Whether the decision is recorded, and follows if the controller had forgotten the job, as it was free to."""
    purge = difference.decision
    job = controller.ledger.jobs.get(purge.job)
    if not difference.seq or not isinstance(purge, Purge) or job is None or job.end is None or not job.nothing_kept:
        return False
    return (purge.job, purge.host, purge.epoch, tuple(purge.datasets)) in lists


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
    """Encode a decision without its stamps and texts, so that equal decisions are equal. The reason of an end counts: clients show it."""
    fields = msgspec.to_builtins(decision)
    texts = ("about", "reason") if isinstance(decision, Needed) else ("about",)
    for field in ("v", "at", "term", *texts):
        fields.pop(field, None)
    return msgspec.json.encode(fields, order="sorted")
