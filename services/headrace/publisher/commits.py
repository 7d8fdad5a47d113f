"""What is to be committed to sinks, and what is to be removed from them: pure.

Of what was written of an output the ledger says which counts; that is committed. Every other part is removed: of attempts that came late,
of what could not be committed, of jobs that failed or were cancelled. What is done is told back, and waits to be announced.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.ledger import PUBLISHED, JobLedger
from headrace_schemas import NotCommitted, SinkSpec, Written


class Commit(NamedTuple):
    """Give this its final name. sink: whose options open the file system."""

    job: str
    written: Written
    sink: SinkSpec


class Remove(NamedTuple):
    """Remove this part, if it is there."""

    job: str
    part: str
    sink: SinkSpec


class Sweep(NamedTuple):
    """Remove every part of this job in a folder: nobody knows of those whose writers died."""

    folder: str
    job: str
    sink: SinkSpec


Action = Commit | Remove | Sweep


class Commits:
    """Of one job. It remembers the parts that are to be committed, until what became of them is in the log, and the commits under way."""

    def __init__(self, job: JobLedger) -> None:
        self.placing = job.placing
        self._job = job
        self._parts: dict[str, int] = {}
        self._underway: dict[int, str] = {}
        self._folders: dict[str, SinkSpec] = {}

    def written(self, written: list[Written]) -> list[Action]:
        """A host says what it has written, with the names that were computed for it; the ledger has folded that. Returns what is to be
        removed."""
        unused: list[Action] = []
        for each in written:
            if not self._is_output(each.dataset):
                continue
            self._folders.setdefault(each.part.rpartition("/")[0], self._sink(each.dataset))
            if self._candidate(each.dataset) == each:
                self._parts[each.part] = each.dataset
            else:
                unused.append(self._remove(each.part, each.dataset))
        return unused

    def begin(self, datasets: list[int]) -> list[Action]:
        """Outputs that were written, or are found to have been. Returns those to commit now, each once; nothing of a job with two outputs
        that lead to one file, so that neither replaces the other before the job fails."""
        begun: list[Action] = []
        if self._job.sunk is None or self._job.sunk.clash is not None:
            return begun
        for dataset in datasets:
            written = self._candidate(dataset)
            if written is not None and self._underway.get(dataset) != written.part:
                self._underway[dataset] = written.part
                begun.append(Commit(self._job.job, written, self._sink(dataset)))
        return begun

    def ended(self, written: Written, error: str) -> Written | NotCommitted | None:
        """A commit was carried out, or could not be, by this error. Returns what is to be announced; None if it does not count any more."""
        dataset = written.dataset
        if self._underway.get(dataset) != written.part or self._candidate(dataset) != written:
            return None
        return NotCommitted(dataset=dataset, attempt=written.attempt, error=error) if error else written

    def announced(self, datasets: list[int]) -> list[Action]:
        """What became of these is in the log. Returns the parts to be removed: those of what could not be committed."""
        left: list[Action] = []
        for dataset in datasets:
            self._underway.pop(dataset, None)
        gone = set(datasets)
        for part in [part for part, dataset in self._parts.items() if dataset in gone]:
            dataset = self._parts.pop(part)
            if not self._job.flag[dataset] & PUBLISHED:
                left.append(self._remove(part, dataset))
        return left

    def over(self) -> list[Action]:
        """The job is over: nothing of it is committed any more. Returns the parts to be removed, and, if something went wrong, the folders
        in which there may be others."""
        left: list[Action] = [self._remove(part, dataset) for part, dataset in self._parts.items()]
        if self._job.over or self._job.retried or self._job.failures:
            left += [Sweep(folder, self._job.job, sink) for folder, sink in self._folders.items()]
        for known in (self._parts, self._underway, self._folders):
            known.clear()
        return left

    def _candidate(self, dataset: int) -> Written | None:
        """What counts; None if there is nothing, or it was announced."""
        return self._job.sunk.written.get(dataset) if self._job.sunk is not None else None

    def _is_output(self, dataset: int) -> bool:
        return 0 <= dataset < self._job.topology.n_datasets and self._job.sink_of(dataset) is not None

    def _remove(self, part: str, dataset: int) -> Remove:
        return Remove(self._job.job, part, self._sink(dataset))

    def _sink(self, dataset: int) -> SinkSpec:
        sink = self._job.sink_of(dataset)
        assert sink is not None
        return sink
