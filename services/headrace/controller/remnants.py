"""The search for finished jobs that are still in the log, for a controller that must make room and does not remember them."""

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


async def find_remnants(bus: Bus, exclude: Container[str], most: int) -> tuple[list[Remnant], bool]:
    """Find up to `most` finished jobs, the oldest first, and tell whether these are all. exclude: jobs to leave out.

    Raises NatsUnreachable.
    """
    entries = [entry for entry in await _entries(bus) if entry.ended and entry.job not in exclude]
    entries.sort(key=_ended)
    found = [Remnant(entry.job, entry.ended, await _has_values(bus, entry)) for entry in entries[:most]]
    return found, len(entries) <= most


async def _entries(bus: Bus) -> list[JobEntry]:
    found = await bus.kv(JOBS.name).entries()
    records = [Record(each.revision, 0.0, key, each.value) for key, each in found.items()]
    return [entry for record in records if (entry := read_value(_entry, JOBS.name, record, bus.reading)) is not None]


async def _has_values(bus: Bus, entry: JobEntry) -> bool:
    """Whether the log has output values of a job that no client released. True if that cannot be determined."""
    if entry.state != "done":
        return False
    ledger = Ledger()
    for subject in (subjects.submitted(entry.job), subjects.state(entry.job)):  # the last message of the latter may be a release
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
