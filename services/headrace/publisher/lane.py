"""The announcements that wait, on one subject of one job."""

from __future__ import annotations

from collections.abc import Iterable

from headrace_schemas import NotCommitted, Published, Written, encode


class Lane:
    """The announcements of one job on one subject: of outputs held for the client, or of outputs in sinks.

    due: outputs to announce, in the order in which they came to exist. size: limit of a message in bytes, lower after one was refused.
    after: sequence of the last announcement in the log. waiting: whether an announcement is being stored.
    bare: outputs to announce without their metadata.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.bare: set[int] = set()
        self.due: dict[int, Written | NotCommitted | None] = {}
        self.announced: set[int] = set()
        self.after = 0
        self.waiting = False

    def exist(self, datasets: Iterable[int]) -> None:
        """Add outputs that exist now, perhaps again."""
        for dataset in datasets:
            if dataset not in self.announced:
                self.due[dataset] = None

    def add_output(self, found: Written | NotCommitted) -> None:
        """Add an output in a sink that was committed, or that could not be."""
        if found.dataset not in self.announced:
            self.due[found.dataset] = found

    def refused(self, message: Published) -> bool:
        """Reduce a batch that is too large for the server: use smaller ones, and announce a single output without its metadata.

        Returns False if that was tried before.
        """
        self.waiting = False
        if len(message.outputs) + len(message.failed) > 1:
            self.size = len(encode(message)) // 2
            return True
        dataset = datasets_of(message)[0]
        tried = dataset in self.bare
        self.bare.add(dataset)
        return not tried

    def committed(self, message: Published, seq: int) -> None:
        """Note that an announcement is in the log."""
        self.after = max(self.after, seq)
        for output in message.outputs:
            self.announced.add(output.dataset)
            self.due.pop(output.dataset, None)
        for failed in message.failed:
            if isinstance(found := self.due.get(failed.dataset), NotCommitted) and found.attempt == failed.attempt:
                del self.due[failed.dataset]


def datasets_of(message: Published) -> list[int]:
    """Return the outputs that an announcement is about."""
    return [output.dataset for output in message.outputs] + [failed.dataset for failed in message.failed]
