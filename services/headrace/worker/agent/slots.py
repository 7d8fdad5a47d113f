"""The agent's view of a runner."""

from __future__ import annotations

from collections import deque

from headrace.worker.agent.jobs import Chain, Segment


class RunnerSlot:
    """A place for a runner, with the work that the process in it was given."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.alive = False
        self.generation = 0
        """The number of processes that have had this slot."""
        self.outstanding: dict[int, Segment] = {}
        """Segments that were sent to the runner and have not ended, oldest first."""
        self.predicted = 0.0
        """Predicted seconds of work in `outstanding`."""
        self.heard = 0.0
        """The time at which the runner last ended a segment, or got one while it was idle."""
        self.sent = 0
        """The number of the last segment that the runner was sent. Segments are numbered in the order in which they are sent."""
        self.frames: deque[tuple[int, list[Segment]]] = deque()
        """Segments that the runner may not have begun, by frame, with the number of each frame's first segment."""
        self.recalls = 0
        """The number of the last recall, see `recalls`."""
        self.recalling = False
        """Whether the agent waits to see what the last recall takes back."""
        self.recalled_at = self.nudged_at = -1.0
        """`heard` at the time of the last recall, and at the time of the last nudge."""
        self.kept: set[Chain] = set()
        """Chains that the runner has begun, and that continue at this runner once their next inputs are here."""
        self.deferred: set[int] = set()
        """Ids of segments in `outstanding` whose results wait for memory."""
        self.batches: dict[int, list[Segment]] = {}
        """Segments in `outstanding` that have not been sent yet, by job number."""
        self.unclosed: set[int] = set()
        """Numbers of ended jobs of which the runner may still execute a task. It was told, and has not answered."""
        self.closing: list[int] = []
        """Numbers of ended jobs of which the runner has no task. It is told with the next frame for it, or at the next tick."""

    @property
    def client(self) -> tuple[str, int, int]:
        """The name of this process in the store's books."""
        return ("runner", self.slot, self.generation)

    @property
    def busy(self) -> bool:
        """Whether the runner executes a segment, or a task of an ended job. Segments whose results wait for memory do not count."""
        return len(self.outstanding) > len(self.deferred) or bool(self.unclosed)

    def number(self, segments: list[Segment]) -> int:
        """Number segments that are about to be sent. Return the number of the first one."""
        while self.frames and self.frames[0][1][-1].over:
            self.frames.popleft()
        first = self.sent + 1
        self.frames.append((first, segments))
        self.sent += len(segments)
        return first

    def emptied(self) -> None:
        """Forget the process, which has ended, and all that it had."""
        self.alive = self.recalling = False
        self.predicted, self.sent, self.recalls = 0.0, 0, 0
        self.recalled_at = self.nudged_at = -1.0
        for each in (self.outstanding, self.frames, self.kept, self.deferred, self.batches, self.unclosed, self.closing):
            each.clear()
