"""`headrace replay`: a job's timeline, recomputed from its log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import typer

from headrace.bus import Bus, BusSettings, Entry, LogFeed
from headrace.client.connection import check_job_id, until_read
from headrace.controller.replay import check
from headrace.controller.settings import Settings
from headrace.errors import NoSuchJob
from headrace.ledger.replay import Line, final_state, timeline
from headrace.text import one_line, plain_json
from headrace_schemas import encode, subjects

FOUND_DIFFERENCES = 1
"""Exit status of a check that found differences."""


def replay_job(job: str, settings: BusSettings, *, checked: bool, as_json: bool) -> int:
    """Print a job's log and, if `checked`, the decisions that do not follow from it. Returns the exit status. Raises NoSuchJob."""
    check_job_id(job)
    entries = asyncio.run(read_log(job, settings))
    if not any(getattr(entry.message, "job", None) == job for entry in entries):
        raise NoSuchJob(f"job {job!r} is not in the log: check its id, or it has aged out")
    for line in _json_lines(job, entries) if as_json else _lines(job, entries):
        typer.echo(plain_json(line) if as_json else line)
    return _check(entries) if checked else 0


async def read_log(job: str, settings: BusSettings) -> list[Entry]:
    """Read all messages of a job in the log so far, and of hosts that joined and left."""
    entries: list[Entry] = []
    async with await Bus.connect(settings, "headrace-replay") as bus:
        feed = await LogFeed.open(bus, subjects.for_job(job), entries.extend)
        await until_read(feed)
        await feed.close()
    return entries


def _lines(job: str, entries: Sequence[Entry]) -> list[str]:
    found = final_state(entries).jobs.get(job)
    state = " ".join(f"{name}={value}" for name, value in found.status().items()) if found is not None else f"job={job} was never submitted"
    return [*map(str, since_submission(timeline(entries))), "", one_line(state)]


def since_submission(lines: list[Line]) -> list[Line]:
    """Count the times of the lines from the job's submission. Events of hosts before it have negative times."""
    submitted = next((line.seconds for line in lines if line.kind == "submitted"), 0.0)
    return [line._replace(seconds=line.seconds - submitted) for line in lines]


def _json_lines(job: str, entries: Sequence[Entry]) -> list[str]:
    """Return every message as it was sent, with its position in the log; then the final state."""
    lines = [f'{{"seq":{entry.seq},"time":{entry.time!r},"message":{encode(entry.message).decode()}}}' for entry in entries]
    found = final_state(entries).jobs.get(job)
    state = msgspec.json.encode(found.status() if found is not None else None).decode()
    return [*lines, f'{{"state":{state}}}']


def _check(entries: Sequence[Entry]) -> int:
    differences = check(entries, Settings.from_env().limits)
    for difference in differences:
        typer.echo(one_line(str(difference)), err=True)
    typer.echo(f"check: {len(differences)} differences between the recorded and the recomputed decisions", err=True)
    return FOUND_DIFFERENCES if differences else 0
