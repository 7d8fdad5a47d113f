"""Checks whether the log has room for a new job. The controller decides; a client that checks first saves the log a job."""

from __future__ import annotations

import asyncio
import time

from headrace.bus import Bus
from headrace.client.settings import SETTINGS
from headrace.errors import HeadraceError, JobFailed
from headrace.usage import ADMIT_BELOW, Usage, reason
from headrace_schemas.streams import LOG


class Admission:
    """The admission check: in the background while the log has much room, otherwise before each job."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._usage = Usage(0, 0)
        self._until = 0.0
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_sure(self) -> bool:
        """Whether a job can be submitted without a check. Starts a check in the background if the last one was a while ago."""
        if time.monotonic() >= self._until and self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
        return self._until > 0 and self._usage.share < ADMIT_BELOW - SETTINGS.admission_near_share

    async def check(self) -> None:
        """Check the log now. Raises JobFailed if it has no room."""
        await self._look()
        if self._usage.share >= ADMIT_BELOW:
            raise JobFailed(reason(self._usage.bytes, self._usage.limit, admitted=False))

    async def _look(self) -> None:
        try:
            self._usage = await self._bus.usage(LOG.name)
        except HeadraceError:  # the client has no permission, or NATS does not answer: the controller decides
            self._usage = Usage(0, 0)
        self._until = time.monotonic() + SETTINGS.admission_seconds
        self._looking = None
