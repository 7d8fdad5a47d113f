"""A page of shared memory that shows what each runner executes. The agent can read it at any time, even after a runner was killed.

The page also settles which of them has a segment that the agent recalls, see `worker/agent/recalls.py`. The runner writes which segment it
begins, and then reads the number of the last recall. The agent writes the number of a recall, waits, and then reads which segment was
begun.
"""

from __future__ import annotations

import mmap

_CELLS = 4
_JOB, _TASK, _BEGUN, _RECALL = range(_CELLS)


class StatusPage:
    """Memory that an agent shares with the runners forked from it.

    It has four cells per slot: the number of the job, the task, the number of the segment that was begun last, and the number of the last
    recall.

    >>> page = StatusPage(2)
    >>> page.set(1, job=7, task=0)
    >>> page.get(1), page.get(0)
    ((7, 0), None)
    """

    def __init__(self, slots: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, max(1, slots) * _CELLS * 8)).cast("q")

    def set(self, slot: int, job: int, task: int) -> None:
        """Show that the runner in this slot begins a task."""
        self._cells[slot * _CELLS + _JOB] = job
        self._cells[slot * _CELLS + _TASK] = task + 1

    def clear(self, slot: int) -> None:
        """Show that the runner in this slot executes nothing."""
        self._cells[slot * _CELLS + _TASK] = 0

    def cells(self, slot: int) -> tuple[memoryview, int, int]:
        """Return the page and two indexes: of the number of the segment that begins next, and of the number of the last recall.

        The runner writes the first and reads the second for every segment.
        """
        return self._cells, slot * _CELLS + _BEGUN, slot * _CELLS + _RECALL

    def begun(self, slot: int) -> int:
        """Return the number of the segment that the runner in this slot began last, or was about to begin."""
        return self._cells[slot * _CELLS + _BEGUN]

    def recall(self, slot: int, number: int) -> None:
        """Announce that the agent recalls segments from the runner in this slot. number: the number of the recall."""
        self._cells[slot * _CELLS + _RECALL] = number

    def reset(self, slot: int) -> None:
        """Clear the cells of a runner that has ended, for the next one in its slot."""
        for cell in range(slot * _CELLS, (slot + 1) * _CELLS):
            self._cells[cell] = 0

    def get(self, slot: int) -> tuple[int, int] | None:
        """Return the (job, task) that the runner executes, or executed when it died; None if it executes nothing."""
        task = self._cells[slot * _CELLS + _TASK]
        return (self._cells[slot * _CELLS + _JOB], task - 1) if task else None
