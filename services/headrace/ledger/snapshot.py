"""Which part of the log a ledger came from, so that a service that starts need not read the rest. Pure functions.

    while a service leads   Ledger --snapshot_of--> LedgerSnapshot
    when it starts          LedgerSnapshot --Selection--> the entries to fold, then all entries after the snapshot's sequence

Nothing of a ledger is stored: a service that starts folds the messages themselves, those of every job that the ledger still has. All
other jobs are over and forgotten. It ends with the same ledger because a message changes nothing beyond its own job, except for three
kinds, which the snapshot has in full: hosts that came or went, what hosts hold that have not joined again yet, and the first decision of
each term.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headrace.ledger.fold import Ledger, LogEntry
from headrace.ledger.job import JobLedger
from headrace.ledger.turns import Turned
from headrace_schemas import SCHEMA_VERSION, SNAPSHOT_LAYOUT, Events, LedgerSnapshot, Turn, subjects

GAP = 500
"""Messages between two ranges that are read as one: to skip these takes less time than to begin to read elsewhere."""
_FAMILY, _JOB = 1, 2
"""Places of tokens in a subject."""
_HOST_FAMILY = subjects.ALL_HOSTS.split(".")[_FAMILY]


class Span(NamedTuple):
    """Where the messages of a job are: from its submission to the last one that counted."""

    first: int
    last: int


class Found(NamedTuple):
    """An entry that comes from a snapshot."""

    seq: int
    time: float
    subject: str
    message: Turned | Events


def snapshot_of(service: str, ledger: Ledger, others: Iterable[tuple[str, Span]] = ()) -> LedgerSnapshot | None:
    """What a service needs to read to come to this ledger again.

    others: jobs that the ledger has forgotten, and whose messages the service needs yet.
    Returns None while it is not known where in the log the present term began.
    """
    seq = ledger.last_seq
    if ledger.turns.is_open or not seq:
        return None
    spans = {name: Span(job.seq, _last(job, ledger.reads_own, seq)) for name, job in ledger.jobs.items()}
    spans.update(others)
    ranges = _joined(sorted(spans.values()), seq - 1)
    turns = _turns(ledger, min((span.first for span in spans.values()), default=seq))
    return LedgerSnapshot(
        service=service,
        schema=SCHEMA_VERSION,
        layout=SNAPSHOT_LAYOUT,
        seq=seq,
        time=ledger.last_time,
        jobs=sorted(spans),
        first=[span.first for span in ranges],
        last=[span.last for span in ranges],
        turns=[turn for turn in turns if turn.seq < seq and not _is_read(turn, spans)],
        over=[name for name in ledger.forgotten if name not in spans],
    )


def _last(job: JobLedger, reads_own: bool, seq: int) -> int:
    """Where the last message of a job is that counts. Of a job that goes on, its reader may have written later ones."""
    goes_on = job.end is None or job.reopened
    return job.last_seq if job.end is not None and (reads_own or not goes_on) else seq


def _turns(ledger: Ledger, first: int) -> list[Turn]:
    """What changes more than one job, in the order of the log. first: from which on all of it is needed."""
    turns = [Turn(seq=turn.seq, time=turn.time, message=turn.message) for turn in ledger.turns.since(first)]
    turns += [Turn(seq=part.seq, time=part.time, message=part.message) for part in ledger.returns.kept]
    return sorted(turns, key=_seq)


def _is_read(turn: Turn, spans: dict[str, Span]) -> bool:
    """Whether it is a message of a job that is read, and is read with it."""
    span = spans.get(getattr(turn.message, "job", ""))
    return span is not None and span.first <= turn.seq <= span.last


def _seq(turn: Turn) -> int:
    return turn.seq


def _joined(spans: Iterable[Span], end: int) -> list[Span]:
    """The spans up to `end`, in their order, with those joined that overlap or nearly touch."""
    joined: list[Span] = []
    for first, last in spans:
        last = min(last, end)
        if joined and first <= joined[-1].last + GAP:
            joined[-1] = Span(joined[-1].first, max(joined[-1].last, last))
        elif first <= last:
            joined.append(Span(first, last))
    return joined


class Selection:
    """The entries of the log that a snapshot selects. ranges: those in which there are any."""

    def __init__(self, snapshot: LedgerSnapshot) -> None:
        self.snapshot = snapshot
        self.ranges = [Span(first, last) for first, last in zip(snapshot.first, snapshot.last, strict=True)]
        self._jobs = frozenset(snapshot.jobs)
        self._turns = deque(Found(turn.seq, turn.time, turn.message.subject(), turn.message) for turn in snapshot.turns)

    def is_needed(self, subject: str) -> bool:
        """Whether a message on this subject is to be read: hosts that came and went are not, for the snapshot has them."""
        tokens = subject.split(".", 3)
        return len(tokens) > _JOB and tokens[_JOB] in self._jobs and tokens[_FAMILY] != _HOST_FAMILY

    def merged(self, entries: Sequence[LogEntry]) -> list[LogEntry]:
        """Add what the snapshot has before the last of some entries that were read."""
        merged: list[LogEntry] = []
        for entry in entries:
            merged += self.until(entry.seq)
            merged.append(entry)
        return merged

    def until(self, seq: int) -> list[LogEntry]:
        """What the snapshot has before a sequence, and was not returned yet."""
        found: list[LogEntry] = []
        while self._turns and self._turns[0].seq < seq:
            found.append(self._turns.popleft())
        return found
