"""What each runner executes right now, on a page of memory that its agent can read also after the runner was killed."""

from __future__ import annotations

import mmap

_CELLS = 2


class StatusPage:
    """Shared by an agent and the runners forked from it: per runner slot the job's number and the task.

    >>> page = StatusPage(2)
    >>> page.set(1, job=7, task=0)
    >>> page.get(1), page.get(0)
    ((7, 0), None)
    """

    def __init__(self, slots: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, max(1, slots) * _CELLS * 8)).cast("q")

    def set(self, slot: int, job: int, task: int) -> None:
        """The runner in this slot begins this task."""
        self._cells[slot * _CELLS] = job
        self._cells[slot * _CELLS + 1] = task + 1

    def clear(self, slot: int) -> None:
        """The runner in this slot executes nothing."""
        self._cells[slot * _CELLS + 1] = 0

    def get(self, slot: int) -> tuple[int, int] | None:
        """(job, task) that the runner executes, or executed when it died; None if nothing."""
        task = self._cells[slot * _CELLS + 1]
        return (self._cells[slot * _CELLS], task - 1) if task else None
