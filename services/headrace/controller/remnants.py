"""Looks up which jobs are over and still in the log: for a controller that has to make room and does not remember them."""

from __future__ import annotations

from collections.abc import Container

from headrace.bus import Bus, Record, read_value
from headrace.controller.room import Remnant, has_values
from headrace.ledger import JobLedger, Ledger
from headrace_schemas import JobEntry, LogMessage, Submitted, decoder, subjects
from headrace_schemas.options import options_of
from headrace_schemas.streams import JOBS, LOG

_entry = decoder(JobEntry)
_message = decoder(LogMessage)


async def find_remnants(bus: Bus, but: Container[str], most: int) -> tuple[list[Remnant], bool]:
    """Look up `most` jobs that are over, but for some; and whether these are all that there are. Raises NatsUnreachable."""
    entries = [entry for entry in await _entries(bus) if entry.ended and entry.job not in but]
    entries.sort(key=_ended)
    found = [Remnant(entry.job, entry.ended, await _has_values(bus, entry)) for entry in entries[:most]]
    return found, len(entries) <= most


async def _entries(bus: Bus) -> list[JobEntry]:
    """The list of jobs."""
    found = await bus.kv(JOBS.name).entries()
    records = [Record(each.revision, 0.0, key, each.value) for key, each in found.items()]
    return [entry for record in records if (entry := read_value(_entry, JOBS.name, record, bus.reading)) is not None]


async def _has_values(bus: Bus, entry: JobEntry) -> bool:
    """Whether values of its outputs are in the log that no client released. Where that cannot be known, they are taken to be there."""
    if entry.state != "done":
        return False
    ledger = Ledger()
    for subject in (subjects.submitted(entry.job), subjects.state(entry.job)):  # on the latter a release comes last
        record = await bus.last(LOG.name, subject)
        message = None if record is None else read_value(_message, LOG.name, record, bus.reading)
        if record is not None and message is not None:
            if isinstance(message, Submitted) and message.graph.inline is None:
                return options_of(message.options, message.graph).sink is None
            ledger.apply(message, record.time)
    job: JobLedger | None = ledger.jobs.get(entry.job)
    return job is not None and has_values(job)


def _ended(entry: JobEntry) -> float:
    return entry.ended
