"""Outputs that go to sinks: what was written of them, and what was committed."""

from __future__ import annotations

from typing import NamedTuple

from headrace_schemas import NotCommitted, Output, Written


class Clash(NamedTuple):
    """Two outputs of a job that lead to one file."""

    one: int
    other: int
    location: str


class Sunk:
    """Of one job that has any.

    written: what is to be committed, or is being; of several attempts the first in the log. refused: what could not be committed,
    by attempt, with the reason. published: as announced, where the ledger keeps values.
    clash: two outputs that were written for one place, and which that is.
    """

    def __init__(self) -> None:
        self.written: dict[int, Written] = {}
        self.refused: dict[int, dict[int, str]] = {}
        self.published: dict[int, Output] = {}
        self.clash: Clash | None = None
        self._places: dict[str, int] = {}

    def write(self, written: Written) -> bool:
        """Something was written. Whether it is the one to commit: of an attempt that was refused, or an older one, it is not."""
        dataset = written.dataset
        if dataset in self.written or written.attempt <= max(self.refused.get(dataset, ()), default=-1):
            return False
        self.written[dataset] = written
        other = self._places.setdefault(written.location, dataset)
        if other != dataset and self.clash is None:
            self.clash = Clash(other, dataset, written.location)
        return True

    def turn_down(self, failed: NotCommitted) -> bool:
        """Something was written that can have no place in its sink. Whether that is news."""
        dataset = failed.dataset
        if failed.attempt <= max(self.refused.get(dataset, ()), default=-1):
            return False
        self.refused.setdefault(dataset, {})[failed.attempt] = failed.error
        return True

    def refuse(self, failed: NotCommitted) -> bool:
        """Something could not be committed. Whether it was what the output was to be."""
        self.refused.setdefault(failed.dataset, {}).setdefault(failed.attempt, failed.error)
        written = self.written.get(failed.dataset)
        if written is None or written.attempt != failed.attempt:
            return False
        del self.written[failed.dataset]
        if self._places.get(written.location) == failed.dataset:
            del self._places[written.location]
        return True
