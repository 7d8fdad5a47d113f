"""Decides what to commit to sinks, and what to remove from them: pure.

Of several writes of an output, the ledger says which one counts; that one is committed. Every other part is removed: those of attempts that
came late, of outputs that could not be committed, and of jobs that failed or were cancelled. The outcome of a commit is reported back, and
waits to be announced.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.ledger import PUBLISHED, JobLedger
from headrace_schemas import NotCommitted, SinkSpec, Written


class Commit(NamedTuple):
    """Give a written file its final name. sink: has the options to open the file system."""

    job: str
    written: Written
    sink: SinkSpec


class Remove(NamedTuple):
    """Remove a part, if it exists."""

    job: str
    part: str
    sink: SinkSpec


class Sweep(NamedTuple):
    """Remove every part of a job in a folder, including parts that no message names, because their writers died."""

    folder: str
    job: str
    sink: SinkSpec


Action = Commit | Remove | Sweep


class Commits:
    """The commits of one job. It remembers the parts to commit until their outcome is in the log, and the commits in progress."""

    def __init__(self, job: JobLedger) -> None:
        self.placing = job.placing
        self._job = job
        self._parts: dict[str, int] = {}
        self._underway: dict[int, str] = {}
        self._folders: dict[str, SinkSpec] = {}

    def add_written(self, written: list[Written]) -> list[Action]:
        """Add outputs that a host reports as written, with the names that were computed for them; the ledger has folded the report.

        Returns the parts to remove.
        """
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

    def begin_commits(self, datasets: list[int]) -> list[Action]:
        """Start to commit written outputs.

        Returns those to commit now, each once. Returns none for a job with two outputs that lead to one file, so that neither replaces the
        other before the job fails.
        """
        begun: list[Action] = []
        if self._job.sunk is None or self._job.sunk.clash is not None:
            return begun
        for dataset in datasets:
            written = self._candidate(dataset)
            if written is not None and self._underway.get(dataset) != written.part:
                self._underway[dataset] = written.part
                begun.append(Commit(self._job.job, written, self._sink(dataset)))
        return begun

    def end_commit(self, written: Written, error: str) -> Written | NotCommitted | None:
        """End a commit, which succeeded or failed with `error`. Returns what to announce; None if the commit is obsolete."""
        dataset = written.dataset
        if self._underway.get(dataset) != written.part or self._candidate(dataset) != written:
            return None
        return NotCommitted(dataset=dataset, attempt=written.attempt, error=error) if error else written

    def note_announced(self, datasets: list[int]) -> list[Action]:
        """Note that the outcome of these outputs is in the log. Returns the parts to remove: those of outputs whose commit failed."""
        left: list[Action] = []
        for dataset in datasets:
            self._underway.pop(dataset, None)
        gone = set(datasets)
        for part in [part for part, dataset in self._parts.items() if dataset in gone]:
            dataset = self._parts.pop(part)
            if not self._job.flag[dataset] & PUBLISHED:
                left.append(self._remove(part, dataset))
        return left

    def end_job(self) -> list[Action]:
        """End the commits of a job that is over.

        Returns the parts to remove, and, if something went wrong, the folders that may have others.
        """
        left: list[Action] = [self._remove(part, dataset) for part, dataset in self._parts.items()]
        if self._job.over or self._job.retried or self._job.failures:
            left += [Sweep(folder, self._job.job, sink) for folder, sink in self._folders.items()]
        for known in (self._parts, self._underway, self._folders):
            known.clear()
        return left

    def _candidate(self, dataset: int) -> Written | None:
        """Return the write that counts; None if there is none, or it was announced."""
        return self._job.sunk.written.get(dataset) if self._job.sunk is not None else None

    def _is_output(self, dataset: int) -> bool:
        return 0 <= dataset < self._job.topology.n_datasets and self._job.sink_of(dataset) is not None

    def _remove(self, part: str, dataset: int) -> Remove:
        return Remove(self._job.job, part, self._sink(dataset))

    def _sink(self, dataset: int) -> SinkSpec:
        sink = self._job.sink_of(dataset)
        assert sink is not None
        return sink
