"""The outputs of a job that go to sinks: which were written, refused and published."""

from __future__ import annotations

from typing import NamedTuple

from headrace_schemas import NotCommitted, Output, Written


class Clash(NamedTuple):
    """Two outputs of a job with the same path. one, other: their datasets."""

    one: int
    other: int
    location: str


class Sunk:
    """The state of each output of a job that goes to a sink. All mappings have the dataset as key.

    written: files that wait for their commit; of several attempts the first one in the log. refused: for each attempt that could not be
    committed, the reason. published: announcements, if the ledger keeps values. clash: the first two outputs with the same path, if any.
    """

    def __init__(self) -> None:
        self.written: dict[int, Written] = {}
        self.refused: dict[int, dict[int, str]] = {}
        self.published: dict[int, Output] = {}
        self.clash: Clash | None = None
        self._places: dict[str, int] = {}

    def write(self, written: Written) -> bool:
        """Note a written file. Return whether it is the one to commit.

        It is not if another attempt was written before, or if this or a later attempt was refused.
        """
        dataset = written.dataset
        if dataset in self.written or written.attempt <= max(self.refused.get(dataset, ()), default=-1):
            return False
        self.written[dataset] = written
        other = self._places.setdefault(written.location, dataset)
        if other != dataset and self.clash is None:
            self.clash = Clash(other, dataset, written.location)
        return True

    def turn_down(self, failed: NotCommitted) -> bool:
        """Note that a written file has no valid path in its sink. Return whether this was unknown."""
        dataset = failed.dataset
        if failed.attempt <= max(self.refused.get(dataset, ()), default=-1):
            return False
        self.refused.setdefault(dataset, {})[failed.attempt] = failed.error
        return True

    def refuse(self, failed: NotCommitted) -> bool:
        """Note that a file could not be committed. Return whether it was the file that waited for its commit."""
        self.refused.setdefault(failed.dataset, {}).setdefault(failed.attempt, failed.error)
        written = self.written.get(failed.dataset)
        if written is None or written.attempt != failed.attempt:
            return False
        del self.written[failed.dataset]
        if self._places.get(written.location) == failed.dataset:
            del self._places[written.location]
        return True
