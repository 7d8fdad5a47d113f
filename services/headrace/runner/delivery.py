"""Reports of datasets. Those of a task with several outputs are withheld until it is known that it made as many as it was declared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from headrace.runner.job import RunnerJob
from headrace.runner.outbox import Outbox
from headrace.values import ArrayType
from headrace_schemas import Written


class _Withheld(NamedTuple):
    """Reports of the task that is executed, as calls that make them."""

    datasets: list[Callable[[], None]]
    files: list[Callable[[], None]]
    """Made in any case: if the task failed, the publisher removes its files."""


class Delivery:
    """Puts datasets and files into the outbox, at once or once their task has ended well."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._withheld: _Withheld | None = None

    def dataset(self, job: RunnerJob, dataset: int, value: bytes | int, metadata: dict[str, Any] | None, array: ArrayType | None) -> None:
        """Report a dataset. value: its encoded value, or the id of the block that holds it."""
        if self._withheld is not None:
            self._withheld.datasets.append(partial(self.dataset, job, dataset, value, metadata, array))
            return
        self._outbox.dataset(job, dataset, value, metadata)
        if array is not None:
            self._outbox.array(dataset, array)

    def written(self, job: RunnerJob, written: Written, metadata: dict[str, Any] | None) -> None:
        """Report an output that was written to its sink."""
        report = partial(self._outbox.written, job, written, metadata)
        if self._withheld is None:
            report()
        else:
            self._withheld.files.append(report)

    def withhold(self) -> None:
        """Withhold reports from here on, until `release` or `discard`."""
        self._withheld = _Withheld([], [])

    def release(self) -> None:
        """Make the reports that were withheld: the task has ended well."""
        withheld, self._withheld = self._withheld, None
        if withheld is not None:
            for report in (*withheld.files, *withheld.datasets):
                report()

    def discard(self) -> None:
        """Make the reports of files only: the task failed, or is not known to have ended."""
        withheld, self._withheld = self._withheld, None
        if withheld is not None:
            for report in withheld.files:
                report()
