"""A progress bar for a person who waits at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from headrace.client.settings import SETTINGS
from headrace.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class TaskCounts(NamedTuple):
    """The progress of a job, in tasks."""

    done: int
    running: int
    total: int


def is_wanted(choice: bool | None) -> bool:
    """Return whether to show a bar: as chosen, or by default if standard error is a terminal (a notebook or a log file is not)."""
    if choice is not None:
        return choice
    return sys.stderr is not None and sys.stderr.isatty()


class Bar:
    """A progress bar on standard error, shown while the caller waits in steps, from `Settings.progress_after_seconds` on."""

    def __init__(self, name: str, counts: Callable[[], TaskCounts]) -> None:
        self._name = name
        self._counts = counts
        self._begin = time.monotonic() + SETTINGS.progress_after_seconds
        self._shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._shown:
            self.update()
            self._shown[0].stop()

    def step(self) -> float:
        """Return the seconds until the next `update`."""
        return max(SETTINGS.progress_seconds, self._begin - time.monotonic())

    def update(self) -> None:
        """Show the progress of the job."""
        if self._shown is None:
            self._shown = self._open()
        progress, task = self._shown
        counts = self._counts()
        progress.update(task, completed=counts.done, total=counts.total, running=counts.running)
        progress.refresh()

    def _open(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("tasks, {task.fields[running]} running"))
        console = Console(stderr=True, force_jupyter=False)
        progress = Progress(*columns, TimeElapsedColumn(), console=console, auto_refresh=False, transient=True)
        progress.start()
        task = progress.add_task(escape(one_line(self._name)), total=None, running=0)
        progress.tasks[task].start_time = self._begin - SETTINGS.progress_after_seconds  # by the same clock
        return progress, task
