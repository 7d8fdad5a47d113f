"""What waits to be announced, on one subject of one job."""

from __future__ import annotations

from collections.abc import Iterable

from headrace_schemas import NotCommitted, Published, Written, encode


class Lane:
    """What is announced of one job on one subject: its outputs that are held for the client, or those in sinks.

    due: what was not announced, in the order in which it came to be. size: bytes that a message may have, less after one was refused.
    after: sequence of the last announcement in the log. waiting: whether one is on its way there.
    bare: outputs to be announced without their metadata.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.bare: set[int] = set()
        self.due: dict[int, Written | NotCommitted | None] = {}
        self.announced: set[int] = set()
        self.after = 0
        self.waiting = False

    def exist(self, datasets: Iterable[int]) -> None:
        """These outputs exist now, perhaps again."""
        for dataset in datasets:
            if dataset not in self.announced:
                self.due[dataset] = None

    def add(self, found: Written | NotCommitted) -> None:
        """This became of an output in a sink."""
        if found.dataset not in self.announced:
            self.due[found.dataset] = found

    def refused(self, message: Published) -> bool:
        """A batch is too large for the server: try smaller ones, and a single output without its metadata. False if that was tried."""
        self.waiting = False
        if len(message.outputs) + len(message.failed) > 1:
            self.size = len(encode(message)) // 2
            return True
        dataset = datasets_of(message)[0]
        tried = dataset in self.bare
        self.bare.add(dataset)
        return not tried

    def committed(self, message: Published, seq: int) -> None:
        """An announcement is in the log."""
        self.after = max(self.after, seq)
        for output in message.outputs:
            self.announced.add(output.dataset)
            self.due.pop(output.dataset, None)
        for failed in message.failed:
            if isinstance(found := self.due.get(failed.dataset), NotCommitted) and found.attempt == failed.attempt:
                del self.due[failed.dataset]


def datasets_of(message: Published) -> list[int]:
    """The outputs that an announcement is about."""
    return [output.dataset for output in message.outputs] + [failed.dataset for failed in message.failed]
