"""The writer of the bucket `jobs`, in which people and clients see the state of each job."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from itertools import islice

from headrace.bus import Bus, Record, read_value
from headrace.bus.later import PAUSE, portion
from headrace.controller.settings import Settings
from headrace.ledger import JobLedger
from headrace.ledger.entry import entry_of
from headrace.logs import get_log
from headrace_schemas import JobEntry, decoder, encode
from headrace_schemas.streams import JOBS

log = get_log(__name__)

_entry = decoder(JobEntry)


class Entries:
    """Writes the entries of jobs that changed: soon after a change of state, and at intervals after mere progress."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bucket = bus.kv(JOBS.name)
        self._reading = bus.reading
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._written: dict[str, str] = {}
        self._waiting: dict[str, JobLedger] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[int]] = set()

    async def load(self, jobs: Collection[str]) -> None:
        """Read the entries of some jobs, so that those that are up to date are not written again."""
        if len(jobs) > self._settings.single_entries:
            entries = await self._bucket.entries()
        else:
            entries = {each.key: each for each in await asyncio.gather(*map(self._bucket.get, jobs)) if each is not None}
        for key, found in entries.items():
            if key in jobs:
                entry = read_value(_entry, JOBS.name, Record(found.revision, 0.0, key, found.value), self._reading)
                if entry is not None:
                    self._written[key] = entry.state

    def changed(self, job: JobLedger) -> None:
        """Schedule the entry of a job that changed."""
        changed = self._written.get(job.job) != job.phase
        if changed or job.end is None:
            self._waiting[job.job] = job
            self._flush_in(self._settings.entry_delay_seconds if changed else self._settings.entry_interval_seconds)

    def forget_job(self, job: str) -> None:
        """Drop a job that the controller forgets. Its entry stays in the bucket, and is written first if it waits to be."""
        if job in self._waiting:
            self._write_entry(self._waiting.pop(job))
        self._written.pop(job, None)

    async def close(self) -> None:
        """Write the entries that wait, and wait until they are stored, for a limited time."""
        self._cancel()
        self._write(len(self._waiting))
        if self._writing:
            _, late = await asyncio.wait(self._writing, timeout=self._settings.entries_close_seconds)
            for task in late:
                task.cancel()

    def _flush_in(self, delay: float) -> None:
        when = self._loop.time() + delay
        if self._timer is not None and self._timer.when() <= when:
            return
        self._cancel()
        self._timer = self._loop.call_at(when, self._some)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _some(self) -> None:
        """Write a portion of the entries that wait, the oldest first."""
        self._timer = None
        self._write(portion(len(self._waiting)))
        if self._waiting:
            self._flush_in(PAUSE)

    def _write(self, count: int) -> None:
        for name in list(islice(self._waiting, count)):
            self._write_entry(self._waiting.pop(name))

    def _write_entry(self, job: JobLedger) -> None:
        self._written[job.job] = job.phase
        task = self._loop.create_task(self._bucket.put(job.job, encode(entry_of(job))))
        self._writing.add(task)
        task.add_done_callback(self._written_one)

    def _written_one(self, task: asyncio.Task[int]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("could not write an entry of the bucket 'jobs'", error=task.exception())
