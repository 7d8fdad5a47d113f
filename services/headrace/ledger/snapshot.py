"""The parts of the log that a ledger was folded from, so that a service that starts need not read the rest.

    while a service leads   Ledger --snapshot_of--> LedgerSnapshot
    when it starts          LedgerSnapshot --Selection--> the entries to fold, then all entries after the snapshot's sequence

A snapshot stores no state. A service that starts folds the messages of every job that the ledger still has; all other jobs are over and
forgotten. This leads to the same ledger, because a message changes only its own job, with three exceptions. The snapshot contains all
messages of these three kinds: hosts that joined or were lost, the lists of hosts that have not rejoined yet, and the beginning of each
term.
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
"""Two ranges with at most this many messages between them are joined: reading on takes less time than a new read request."""
_FAMILY, _JOB = 1, 2
"""Positions of the tokens in a subject."""
_HOST_FAMILY = subjects.ALL_HOSTS.split(".")[_FAMILY]


class Span(NamedTuple):
    """A range of sequences; of a job, from its submission to its last message that counted."""

    first: int
    last: int


class Found(NamedTuple):
    """An entry that is stored in a snapshot. time: seconds since 1970."""

    seq: int
    time: float
    subject: str
    message: Turned | Events


def snapshot_of(service: str, ledger: Ledger, others: Iterable[tuple[str, Span]] = ()) -> LedgerSnapshot | None:
    """Describe what a service must read to arrive at this ledger again.

    others: jobs that the ledger has forgotten, and whose messages the service still needs.
    Returns None for a ledger that has read nothing.
    """
    seq = ledger.last_seq
    if not seq:
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
    """Return the sequence up to which a job's messages must be read. Of a job that goes on, the reader may have written later ones."""
    goes_on = job.end is None or job.reopened
    return job.last_seq if job.end is not None and (reads_own or not goes_on) else seq


def _turns(ledger: Ledger, first: int) -> list[Turn]:
    """List the messages that change more than one job, in log order. first: the sequence from which on all of them are needed."""
    turns = [Turn(seq=turn.seq, time=turn.time, message=turn.message) for turn in ledger.turns.since(first)]
    turns += [Turn(seq=part.seq, time=part.time, message=part.message) for part in ledger.returns.kept]
    return sorted(turns, key=_seq)


def _is_read(turn: Turn, spans: dict[str, Span]) -> bool:
    """Whether a turn is a message of a job in the snapshot, and is read with that job."""
    span = spans.get(getattr(turn.message, "job", ""))
    return span is not None and span.first <= turn.seq <= span.last


def _seq(turn: Turn) -> int:
    return turn.seq


def _joined(spans: Iterable[Span], end: int) -> list[Span]:
    """Cut spans off after `end`, and join those that overlap or nearly touch. spans: in ascending order."""
    joined: list[Span] = []
    for first, last in spans:
        last = min(last, end)
        if joined and first <= joined[-1].last + GAP:
            joined[-1] = Span(joined[-1].first, max(joined[-1].last, last))
        elif first <= last:
            joined.append(Span(first, last))
    return joined


class Selection:
    """The entries of the log that a snapshot selects. ranges: the sequences to read."""

    def __init__(self, snapshot: LedgerSnapshot) -> None:
        self.snapshot = snapshot
        self.ranges = [Span(first, last) for first, last in zip(snapshot.first, snapshot.last, strict=True)]
        self._jobs = frozenset(snapshot.jobs)
        self._turns = deque(Found(turn.seq, turn.time, turn.message.subject(), turn.message) for turn in snapshot.turns)

    def is_needed(self, subject: str) -> bool:
        """Whether a message on this subject must be folded. Messages about hosts need not be: the snapshot contains them."""
        tokens = subject.split(".", 3)
        return len(tokens) > _JOB and tokens[_JOB] in self._jobs and tokens[_FAMILY] != _HOST_FAMILY

    def merged(self, entries: Sequence[LogEntry]) -> list[LogEntry]:
        """Insert the entries of the snapshot that precede the last of these entries from the log."""
        merged: list[LogEntry] = []
        for entry in entries:
            merged += self.until(entry.seq)
            merged.append(entry)
            if self._turns and self._turns[0].seq == entry.seq:  # it stands for this entry, the first decision of a term
                self._turns.popleft()
        return merged

    def until(self, seq: int) -> list[LogEntry]:
        """Return the entries of the snapshot before a sequence that were not returned yet."""
        found: list[LogEntry] = []
        while self._turns and self._turns[0].seq < seq:
            found.append(self._turns.popleft())
        return found
