"""The task that checks the streams at intervals, and makes room in the log as `room` decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from headrace.bus import Bus
from headrace.controller.remnants import find_remnants
from headrace.controller.room import Room
from headrace.errors import HeadraceError
from headrace.ledger import JobLedger
from headrace.logs import get_log
from headrace.usage import Usage
from headrace_schemas import subjects
from headrace_schemas.streams import BUCKETS, JOBS, LOG, OBJECT_STORES, STREAMS

log = get_log(__name__)

WATCHED = [
    *(spec.name for spec in STREAMS),
    *(f"KV_{spec.name}" for spec in BUCKETS),
    *(f"OBJ_{spec.name}" for spec in OBJECT_STORES),
]


class RoomKeeper:
    """Checks the streams while a controller leads.

    jobs: returns the jobs in memory. end: is called with a job that must end because the log has no room. last_seq: returns the last
    sequence of the log that the controller has read.
    """

    def __init__(
        self,
        bus: Bus,
        room: Room,
        jobs: Callable[[], Iterable[JobLedger]],
        end: Callable[[str, Usage], None],
        last_seq: Callable[[], int],
    ) -> None:
        self.usages: dict[str, Usage] = {}
        self._bus = bus
        self._room = room
        self._jobs = jobs
        self._end = end
        self._last_seq = last_seq
        self._round_at = self._look_up_at = 0.0
        self._has_reserve = False
        self._was_open = True
        self._seen = -1

    async def run(self) -> None:
        """Check the streams until cancelled. An error is logged, and the next check tries again."""
        settings = self._room.settings
        while True:
            try:
                if self._may_differ():
                    await self.check()
            except (HeadraceError, TimeoutError) as error:
                log.warning("could not check how full the streams are; the next check tries again", error=error)
            await asyncio.sleep(settings.look_closely_seconds if self._room.is_critical else settings.look_seconds)

    def _may_differ(self) -> bool:
        """Whether a check may show something new: not if the log has not grown and has much room."""
        seen, self._seen = self._seen, self._last_seq()
        return seen != self._seen or not self._room.has_much or time.monotonic() >= self._round_at

    async def check(self) -> None:
        """Check how full the log is, and make room if necessary. Raises HeadraceError or TimeoutError if NATS does not answer."""
        room = self._room
        self.usages[LOG.name] = await self._bus.usage(LOG.name)
        room.note_usage(self.usages[LOG.name])
        self._log_admission()
        if room.is_short and time.monotonic() >= self._look_up_at:
            self._look_up_at = time.monotonic() + room.settings.look_round_seconds
            room.add_remnants(*await find_remnants(self._bus, {job.job for job in self._jobs()}, room.settings.remnants))
        for job in room.take_removable(time.time()):
            await self._remove(job)
        if room.is_critical:
            await self._make_room()
        elif room.is_open:
            await self._keep_reserve()
        if time.monotonic() >= self._round_at:
            self._round_at = time.monotonic() + room.settings.look_round_seconds
            await self._look_round()

    def _log_admission(self) -> None:
        if self._room.is_open != self._was_open:
            self._was_open = self._room.is_open
            text = "the log has room again; jobs are admitted" if self._was_open else "the log is nearly full; no job is admitted"
            log.warning(text, used=self._room.usage.bytes, limit=self._room.usage.limit)

    async def _make_room(self) -> None:
        """End a running job, and remove the messages of failed and cancelled ones."""
        await self._bus.purge(LOG.name, subjects.RESERVE)
        self._has_reserve = False
        job = self._room.to_end(self._jobs())
        if job is not None:
            self._end(job.job, self._room.usage)
        for name in self._room.take_emptied(self._jobs()):
            for subject in subjects.bulk_of(name):
                await self._bus.purge(LOG.name, subject)
        self._bus.send_again()

    async def _keep_reserve(self) -> None:
        """Store the message that is purged when the log is full, unless it is stored already."""
        if self._has_reserve:
            return
        if await self._bus.last(LOG.name, subjects.RESERVE) is None:
            limit, settings = self._room.usage.limit, self._room.settings
            size = min(settings.reserve_bytes, int(limit * settings.reserve_share)) if limit else settings.reserve_bytes
            async with asyncio.timeout(settings.store_seconds):
                await self._bus.publish(subjects.RESERVE, bytes(size))
        self._has_reserve = True

    async def _remove(self, job: str) -> None:
        """Remove a job from the log and from the list of jobs. Its end is removed last, for a job without an end would start again."""
        for subject in [*subjects.bulk_of(job), *subjects.outputs_of(job), f"{subjects.ROOT}.job.{job}.>"]:
            await self._bus.purge(LOG.name, subject)
        await self._bus.purge(f"KV_{JOBS.name}", f"$KV.{JOBS.name}.{job}")

    async def _look_round(self) -> None:
        for name in WATCHED:
            self.usages[name] = await self._bus.usage(name)
