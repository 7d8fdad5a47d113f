"""Decides which outputs to announce: a pure state machine.

It turns entries of the log into batches of outputs; each output is in one batch.

An output is due once the log says that it exists. It is announced when a `Published` of its job contains it, whichever publisher wrote that
in whichever term: the message in the stream is the commit point. To prevent two publishers from both committing, a batch of a job is sent
only when the batch before it is stored, and names the sequence of that batch as the last one of its subject.

An output that goes to a sink is due once it is committed there, which `commits` decides and the service carries out. It is announced on a
subject of its own. So is an output that could not be committed; the controller has it computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from headrace.errors import GraphError
from headrace.ledger import SUNK, VALUE, JobLedger, Ledger, LogEntry
from headrace.ledger.machine import LedgerMachine
from headrace.ledger.placing import Placing
from headrace.ledger.snapshot import Span, snapshot_of
from headrace.publisher.commits import Action, Commit, Commits, Remove
from headrace.publisher.lane import Lane, datasets_of
from headrace.publisher.settings import Settings
from headrace_schemas import Events, LedgerSnapshot, NotCommitted, Output, Published, Written, encode

ERROR_KEY = "headrace_error"
"""Metadata key of an output whose own metadata could not be announced."""
TOO_LARGE = "the metadata of this output was omitted, because it is larger than the NATS server allows in a message"
ERROR_CHARACTERS = 2_000
"""Most characters of the reason why an output could not be committed."""


class _Left(NamedTuple):
    """A job that is over. ended_at: by the log's clock. seq: sequence of its submission."""

    placing: Placing
    ended_at: float
    seq: int


class Announcement(NamedTuple):
    """A message to publish, if the last one on its subject has the sequence `after` (0: there is none)."""

    message: Published
    after: int

    @property
    def travelled(self) -> bool:
        """Whether the values of all its outputs are in the log, so that nobody waits for the announcement."""
        return not self.message.failed and all(output.checksum and not output.location for output in self.message.outputs)


class Publisher(LedgerMachine):
    """The decisions about all jobs, for the leader of a term.

    ledger: everything folded so far. jobs, sinks: lanes of the jobs that are not yet finished and announced, for held outputs and for
    outputs in sinks.
    announced: number of outputs that this publisher announced.
    """

    def __init__(self, settings: Settings, term: int) -> None:
        self.settings = settings
        self.term = term
        self.ledger = Ledger(keep_values=True)
        self.jobs: dict[str, Lane] = {}
        self.sinks: dict[str, Lane] = {}
        self.announced = 0
        self._commits: dict[str, Commits] = {}
        self._actions: list[Action] = []
        self._n_left = 0
        self._left: dict[str, _Left] = {}
        """Jobs that are over. Parts that hosts still write for them are removed."""
        self._look_at: set[str] = set()

    def fold(self, entries: Iterable[LogEntry]) -> None:
        """Fold entries of the log."""
        for entry in entries:
            message = entry.message
            self.ledger.fold(entry)
            if type(message) is Published and message.job in self.ledger.jobs:
                self._committed(message, entry.seq)
            elif type(message) is Events and message.written:
                self._written(message)

    def stored(self, message: Published, seq: int) -> None:
        """Note that a batch is in the log, so that the next one of its job may follow."""
        lane = self._lane(message)
        lane.waiting = False
        lane.committed(message, seq)
        self._forget_values(message)
        self.announced += len(message.outputs)
        self._look_at.add(message.job)

    def refused(self, message: Published) -> bool:
        """Announce the outputs of a batch that was refused for its size in another way. Returns False if there is nothing left to try."""
        self._look_at.add(message.job)
        return self._lane(message).refused(message)

    def carried_out(self, commit: Commit, error: str) -> None:
        """Note that a commit succeeded, or failed with this error."""
        commits = self._commits.get(commit.job)
        found = commits.end_commit(commit.written, error) if commits is not None else None
        if found is not None:
            self._of(self.sinks, commit.job).add_output(found)
            self._look_at.add(commit.job)

    def decide(self) -> list[Announcement]:
        """Return the batches to publish now: for every job whose last batch is stored, the next one, as large as allowed."""
        for job in self.ledger.take_changed():
            changes = job.take_changes()
            self._of(self.jobs, job.job).exist(changes.outputs.list())
            if job.sunk is not None:
                self._commit(job, changes.written.list())
            self._look_at.add(job.job)
        names = sorted(self._look_at)
        self._look_at.clear()
        return [batch for name in names for batch in self._next(name)]

    def take_actions(self) -> list[Action]:
        """Return the actions on sinks that follow from the entries and decisions so far."""
        actions, self._actions = self._actions, []
        return actions

    @property
    def rest(self) -> float:
        """Seconds for which the publisher need not read the log, see `Settings`."""
        return self.settings.sink_rest_seconds if self._commits else self.settings.rest_seconds

    def snapshot(self, service: str) -> LedgerSnapshot | None:
        """Return the parts of the log that lead to the same state. None if they cannot be determined at the moment."""
        seq, since = self.ledger.last_seq, self.ledger.last_time - self.settings.late_seconds
        late = [(name, Span(left.seq, seq)) for name, left in self._left.items() if left.seq and left.ended_at > since]
        return snapshot_of(service, self.ledger, late)

    def status(self) -> dict[str, object]:
        """Return, for people, the number of announced outputs and of those that are due."""
        due: Counter[str] = Counter()
        for lanes in (self.jobs, self.sinks):
            due.update({name: len(lane.due) for name, lane in lanes.items() if lane.due})
        of_log = {"term": self.term, "at": self.ledger.last_seq, "impossible": self.ledger.impossible}
        return {**of_log, "announced": self.announced, "due": dict(due)}

    # --- sinks --------------------------------------------------------------------------------------------------------

    def _written(self, events: Events) -> None:
        job, left = self.ledger.jobs.get(events.job), self._left.get(events.job)
        if left is not None:
            self._actions += _late(events, left.placing)
        elif job is not None and job.sunk is not None:
            written = [each for each in events.written if 0 <= each.dataset < job.topology.n_datasets and job.flag[each.dataset] & SUNK]
            placed = [placed for each in written if isinstance(placed := job.place_written(each, events.host), Written)]
            self._actions += self._commits_of(job).add_written(placed)

    def _commit(self, job: JobLedger, datasets: list[int]) -> None:
        commits = self._commits_of(job)
        self._actions += commits.begin_commits(datasets) if job.end is None else commits.end_job()

    def _commits_of(self, job: JobLedger) -> Commits:
        commits = self._commits.get(job.job)
        if commits is None:
            commits = self._commits[job.job] = Commits(job)
        return commits

    # --- announcements ------------------------------------------------------------------------------------------------

    def _committed(self, message: Published, seq: int) -> None:
        """Note that an announcement is in the log, and forget what it was made of."""
        self._lane(message).committed(message, seq)
        self._forget_values(message)
        job = self.ledger.jobs[message.job]
        if job.sunk is not None and is_committed(message):
            self._actions += self._commits_of(job).note_announced(datasets_of(message))

    def _forget_values(self, message: Published) -> None:
        job = self.ledger.jobs.get(message.job)
        if job is None:
            return
        for output in message.outputs:
            job.values.pop(output.dataset, None)
            job.arrays.pop(output.dataset, None)
            if job.sunk is not None:
                job.sunk.published.pop(output.dataset, None)

    def _lane(self, message: Published) -> Lane:
        return self._of(self.sinks if is_committed(message) else self.jobs, message.job)

    def _of(self, lanes: dict[str, Lane], job: str) -> Lane:
        lane = lanes.get(job)
        if lane is None:
            lane = lanes[job] = Lane(self.settings.message_bytes)
        return lane

    def _next(self, name: str) -> Iterator[Announcement]:
        """Yield the next batch of each of a job's lanes. If the job is over and everything is announced, yield none and forget the job."""
        lanes = [lane for lane in (self.jobs.get(name), self.sinks.get(name)) if lane is not None]
        job, waiting, due = self.ledger.jobs.get(name), False, False
        for lane in lanes:
            waiting, due = waiting or lane.waiting, due or bool(lane.due)
        if job is None or job.over or (job.end is not None and not due):
            if not waiting:
                self._forget(name)
            return
        for lane in lanes:
            if lane.due and not lane.waiting:
                lane.waiting = True
                yield Announcement(self._message(job, lane), lane.after)

    def _forget(self, name: str) -> None:
        if name in self._commits:
            self._remember(name, self._commits[name].placing, self.ledger.jobs.get(name))
        for found in (self.jobs, self.sinks, self._commits):
            found.pop(name, None)
        self.ledger.forget_job(name)

    def _remember(self, name: str, placing: Placing, job: JobLedger | None) -> None:
        """Keep what is needed to compute the names of a job's late parts, and forget the oldest such jobs."""
        self._left[name] = _Left(placing, job.ended_at if job is not None else 0.0, job.seq if job is not None else 0)
        self._n_left += placing.n_datasets
        most, most_datasets = self.settings.over_remembered, self.settings.datasets_remembered
        while len(self._left) > most or (self._n_left > most_datasets and len(self._left) > 1):
            self._n_left -= self._left.pop(next(iter(self._left))).placing.n_datasets

    def _message(self, job: JobLedger, lane: Lane) -> Published:
        records = (_record(job, dataset, found, bare=dataset in lane.bare) for dataset, found in lane.due.items())
        batch = list(_fitting(records, lane.size))
        outputs = [record for record in batch if isinstance(record, Output)]
        failed = [record for record in batch if isinstance(record, NotCommitted)]
        return Published(at=self.ledger.last_seq, term=self.term, job=job.job, outputs=outputs, failed=failed)


def _late(events: Events, placing: Placing) -> Iterator[Action]:
    """Yield removals of the parts that hosts wrote for a job that is over."""
    yielded = dict(zip(events.metadata_ids, events.metadata, strict=False))
    for each in events.written:
        sink = placing.sink_of(each.dataset)
        if sink is not None:
            with contextlib.suppress(GraphError):  # such an output has no place, and so no part
                yield Remove(events.job, placing.placed(each, events.host, yielded.get(each.dataset, {})).part, sink)


def is_committed(message: Published) -> bool:
    """Return whether the announcement is about outputs in sinks."""
    return bool(message.failed or message.outputs[0].location)


def _record(job: JobLedger, dataset: int, found: Written | NotCommitted | None, *, bare: bool) -> Output | NotCommitted:
    if found is None:
        return describe(job, dataset, bare=bare)
    if isinstance(found, NotCommitted):
        return msgspec.structs.replace(found, error=found.error[:ERROR_CHARACTERS])
    return Output(
        dataset=dataset,
        name=job.dataset_name(dataset),
        metadata={ERROR_KEY: TOO_LARGE} if bare else job.metadata(dataset),
        bytes=found.bytes,
        location=found.location,
        checksum=found.checksum,
        encoding=found.encoding,
        dtype=found.dtype,
        shape=found.shape,
    )


def describe(job: JobLedger, dataset: int, *, bare: bool = False) -> Output:
    """Describe an output for its announcement: its name, its metadata (of its task, its own, and yielded), its holder, and its type.

    Only a value that travelled in an event has a checksum: to read a held value just for that would cost its host more than to send it.

    bare: replace the metadata by a note that it was too large.
    """
    by_value = bool(job.flag[dataset] & VALUE)
    dtype, shape = job.arrays.get(dataset, ("", None))
    return Output(
        dataset=dataset,
        name=job.dataset_name(dataset),
        metadata={ERROR_KEY: TOO_LARGE} if bare else job.metadata(dataset),
        host="" if by_value else job.holder(dataset),
        bytes=job.sizes[dataset],
        checksum=checksum(job.values[dataset]) if by_value else "",
        dtype=dtype,
        shape=shape,
    )


def checksum(value: bytes) -> str:
    """Return the checksum of a value that travelled in an event."""
    return f"sha256:{hashlib.sha256(value).hexdigest()}"


def _fitting(outputs: Iterator[Output | NotCommitted], size: int) -> Iterator[Output | NotCommitted]:
    """Yield the first outputs, as many as fit into a message of about `size` bytes, but at least one."""
    used = 0
    for output in outputs:
        length = len(encode(output)) + 1
        if used and used + length > size:
            return
        used += length
        yield output
