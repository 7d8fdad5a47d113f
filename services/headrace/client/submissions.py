"""The jobs that were submitted on a connection and are not in the log yet.

Closing the connection, or looking up such a job, waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib


class Submissions:
    """Jobs whose submission is being stored. On the connection's loop."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Event] = {}

    def begin_submission(self, job: str) -> None:
        """Note that a job is about to be submitted."""
        self._open[job] = asyncio.Event()

    def end_submission(self, job: str) -> None:
        """Note that a submission is in the log, or never will be."""
        event = self._open.pop(job, None)
        if event is not None:
            event.set()

    async def settled(self, seconds: float, job: str = "") -> None:
        """Wait until the present submissions, or that of one job, are in the log; for at most `seconds`."""
        waiting = [event for open_job, event in self._open.items() if job in ("", open_job)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for event in waiting:
                    await event.wait()
