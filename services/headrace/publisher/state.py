"""What is to be announced: a pure state machine. Entries of the log in, batches of outputs out, each output in one batch.

An output is due once the log says that it exists. It is announced by being in a `Published` of its job, whoever wrote that and in whatever
term: the message in the stream is the commit point. So that two publishers cannot both commit, a batch of a job is sent only when the
one before is stored, and names that one's sequence as the last of its subject.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from headrace.ledger import VALUE, JobLedger, Ledger, LogEntry
from headrace.publisher.settings import Settings
from headrace_schemas import Output, Published, encode

ERROR_KEY = "headrace_error"
"""Key of the metadata of an output whose own metadata could not be announced."""
TOO_LARGE = "the metadata of this output is larger than a message of this NATS server may be, and was left out"


class Batch(NamedTuple):
    """A message to publish, if the last one on its subject has the sequence `after` (0: there is none)."""

    message: Published
    after: int


class JobOutputs:
    """The outputs of one job. due: that exist and were not announced, in the order in which they came to be.

    after: sequence of the last announcement in the log. waiting: whether one is on its way there.
    size: bytes that a message may have, less after one was refused. bare: outputs to be announced without their metadata.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.bare: set[int] = set()
        self.due: dict[int, None] = {}
        self.announced: set[int] = set()
        self.after = 0
        self.waiting = False

    def exist(self, datasets: Iterable[int]) -> None:
        """These outputs exist now, perhaps again."""
        self.due.update((dataset, None) for dataset in datasets if dataset not in self.announced)

    def refused(self, message: Published) -> bool:
        """A batch is too large for the server: try smaller ones, and a single output without its metadata. False if that was tried."""
        self.waiting = False
        if len(message.outputs) > 1:
            self.size = len(encode(message)) // 2
            return True
        dataset = message.outputs[0].dataset
        tried = dataset in self.bare
        self.bare.add(dataset)
        return not tried

    def committed(self, message: Published, seq: int) -> None:
        """An announcement is in the log."""
        self.after = max(self.after, seq)
        for output in message.outputs:
            self.announced.add(output.dataset)
            self.due.pop(output.dataset, None)


class Publisher:
    """Decides for all jobs, as the leader of a term.

    ledger: everything folded so far. jobs: those that are not over and announced. announced: how many outputs this publisher announced.
    """

    def __init__(self, settings: Settings, term: int) -> None:
        self.settings = settings
        self.term = term
        self.ledger = Ledger(keep_values=True)
        self.jobs: dict[str, JobOutputs] = {}
        self.announced = 0
        self._look_at: set[str] = set()

    def fold(self, entries: Iterable[LogEntry]) -> None:
        """Take entries of the log in."""
        for entry in entries:
            self.ledger.fold(entry)
            if isinstance(entry.message, Published) and entry.message.job in self.ledger.jobs:
                self._committed(entry.message, entry.seq)

    def stored(self, message: Published, seq: int) -> None:
        """A batch is in the log: the next one of its job may follow."""
        self._of(message.job).waiting = False
        self._committed(message, seq)
        self.announced += len(message.outputs)
        self._look_at.add(message.job)

    def refused(self, message: Published) -> bool:
        """A batch was refused for its size: what it has is announced otherwise. False if nothing is left to try."""
        self._look_at.add(message.job)
        return self._of(message.job).refused(message)

    def decide(self) -> list[Batch]:
        """What to publish now: for every job whose last batch is stored, the next one, as large as it may be."""
        for job in self.ledger.take_changed():
            self._of(job.job).exist(job.take_changes().outputs.list())
            self._look_at.add(job.job)
        names = sorted(self._look_at)
        self._look_at.clear()
        return [batch for name in names if (batch := self._next(name)) is not None]

    @property
    def last_seq(self) -> int:
        """Sequence of the last entry that was folded."""
        return self.ledger.last_seq

    def status(self) -> dict[str, object]:
        """For people: how much was announced, and what is due."""
        due = {name: len(outputs.due) for name, outputs in self.jobs.items() if outputs.due}
        return {"term": self.term, "at": self.ledger.last_seq, "announced": self.announced, "due": due}

    def _committed(self, message: Published, seq: int) -> None:
        """An announcement is in the log: what it was made of need not be remembered any more."""
        self._of(message.job).committed(message, seq)
        job = self.ledger.jobs.get(message.job)
        if job is not None:
            for output in message.outputs:
                job.values.pop(output.dataset, None)
                job.arrays.pop(output.dataset, None)

    def _of(self, job: str) -> JobOutputs:
        outputs = self.jobs.get(job)
        if outputs is None:
            outputs = self.jobs[job] = JobOutputs(self.settings.message_bytes)
        return outputs

    def _next(self, name: str) -> Batch | None:
        outputs, job = self._of(name), self.ledger.jobs.get(name)
        if outputs.waiting:
            return None
        if job is None or job.over or (job.end is not None and not outputs.due):
            del self.jobs[name]
            self.ledger.forget(name)
            return None
        if not outputs.due:
            return None
        outputs.waiting = True
        batch = list(_fitting((describe(job, dataset, bare=dataset in outputs.bare) for dataset in outputs.due), outputs.size))
        return Batch(Published(at=self.ledger.last_seq, term=self.term, job=name, outputs=batch), outputs.after)


def describe(job: JobLedger, dataset: int, *, bare: bool = False) -> Output:
    """An output as it is announced: its name, its metadata (of its task, its own, and what was yielded), who holds it, and what it is.

    Only a value that travelled in an event has a checksum: to read a held one only for that would cost its host more than to send it.

    bare: say instead of the metadata that it was too large.
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
    """How a value that travelled in an event is known again."""
    return f"sha256:{hashlib.sha256(value).hexdigest()}"


def _fitting(outputs: Iterator[Output], size: int) -> Iterator[Output]:
    """The first of the outputs, as many as fit into a message of about `size` bytes, at least one."""
    used = 0
    for output in outputs:
        length = len(encode(output)) + 1
        if used and used + length > size:
            return
        used += length
        yield output
