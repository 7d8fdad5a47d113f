"""A runner as the agent sees it."""

from __future__ import annotations

from collections import deque

from headrace.worker.agent.jobs import Chain, Segment


class RunnerSlot:
    """One place for a runner, and what the process in it was given to do."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.alive = False
        self.generation = 0
        """Counts the processes that had this slot."""
        self.outstanding: dict[int, Segment] = {}
        """Segments sent and not ended, oldest first."""
        self.predicted = 0.0
        """Seconds of work among them."""
        self.heard = 0.0
        """When it ended something, or got something after it had nothing to execute."""
        self.sent = 0
        """Number of the last segment that it was sent: they are numbered in that order."""
        self.frames: deque[tuple[int, list[Segment]]] = deque()
        """What it was sent and may not have begun: segments, and the number of the first."""
        self.recalls = 0
        """Number of the last recall, see `recalls`."""
        self.recalling = False
        """Whether it is not known yet what that one takes back."""
        self.recalled_at = self.nudged_at = -1.0
        """Until when nothing had been heard of it when that one was made, and when it was nudged last."""
        self.kept: set[Chain] = set()
        """Chains that it has begun, and that go on only here, once their next inputs have come."""
        self.deferred: set[int] = set()
        """Segments among them whose results wait for room."""
        self.batches: dict[int, list[Segment]] = {}
        """Segments among them that are to be sent, by job number."""
        self.unclosed: set[int] = set()
        """Numbers of jobs that are over, of which it may execute a task still: it was told, and has not answered."""
        self.closing: list[int] = []
        """Numbers of jobs that are over, which it is told when it is sent something else, or soon: it has nothing of them to execute."""

    @property
    def client(self) -> tuple[str, int, int]:
        """Name of this process in the store's books."""
        return ("runner", self.slot, self.generation)

    @property
    def busy(self) -> bool:
        """Whether it has something to execute that does not wait for room, or executes something that nobody waits for."""
        return len(self.outstanding) > len(self.deferred) or bool(self.unclosed)

    def number(self, segments: list[Segment]) -> int:
        """Segments are about to be sent. Returns the number of the first."""
        while self.frames and self.frames[0][1][-1].over:
            self.frames.popleft()
        first = self.sent + 1
        self.frames.append((first, segments))
        self.sent += len(segments)
        return first

    def emptied(self) -> None:
        """The process is gone, with all that it had."""
        self.alive = self.recalling = False
        self.predicted, self.sent, self.recalls = 0.0, 0, 0
        self.recalled_at = self.nudged_at = -1.0
        for each in (self.outstanding, self.frames, self.kept, self.deferred, self.batches, self.unclosed, self.closing):
            each.clear()
