"""What log, sinks and streams have of a seed's jobs, read after the clients have ended and before the services do."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from headrace.bus import Bus, BusSettings
from headrace.cli.replaying import read_log
from headrace.controller.replay import check
from headrace.ledger.replay import final_state
from headrace_schemas import Events, Published
from tests.chaos.outcome import Announced, JobOutcome, SinkFile

ANNOUNCED_SECONDS = 10.0
"""For the announcements of held outputs, which may come after the job's end."""


class Audited(msgspec.Struct):
    """jobs: completed. made: moments, in seconds of the wall clock, at which hosts reported that tasks or datasets were done."""

    jobs: list[JobOutcome]
    made: list[float]


def wait_until_up(settings: BusSettings, hosts: int, seconds: float) -> int:
    """Wait until all services answer. Returns an exit status."""
    asyncio.run(_wait_until_up(settings, hosts, seconds))
    return 0


async def _wait_until_up(settings: BusSettings, hosts: int, seconds: float) -> None:
    async with asyncio.timeout(seconds), await Bus.connect(settings, "chaos") as bus:
        while not await _is_up(bus, hosts):
            await asyncio.sleep(0.05)


async def _is_up(bus: Bus, hosts: int) -> bool:
    names = [f"headrace-{name}.status" for name in ("controller", "scheduler", "publisher")]
    names += [f"headrace-worker.status-host-{index}" for index in range(hosts)]
    try:
        answers = [msgspec.json.decode(await bus.request(f"headrace.service.{name}", timeout=1.0)) for name in names]
    except Exception:  # it only starts
        return False
    return all(answer.get("leading", True) for answer in answers)


def audit(settings: BusSettings, jobs: Sequence[JobOutcome], sinks: Mapping[str, Path], written: Path) -> int:
    """Complete what is known of jobs, and write it to a file. sinks: folders by the names of jobs. Returns an exit status."""
    made: list[float] = []
    for job in jobs:
        if job.id:
            _audit_job(settings, job, made)
        if job.name in sinks:
            job.files = files_in(sinks[job.name])
    written.write_bytes(msgspec.json.encode(Audited(list(jobs), sorted(made))))
    return 0


def _audit_job(settings: BusSettings, job: JobOutcome, made: list[float]) -> None:
    deadline = time.monotonic() + ANNOUNCED_SECONDS
    while True:
        entries = asyncio.run(read_log(job.id, settings))
        job.announced = [
            Announced(name=output.name, seq=entry.seq, location=output.location, bytes=output.bytes, checksum=output.checksum)
            for entry in entries
            if isinstance(entry.message, Published)
            for output in entry.message.outputs
        ]
        found = final_state(entries).jobs.get(job.id)
        job.state = found.phase if found is not None else ""
        if job.state != "done" or len(job.announced) >= len(job.outputs) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    job.differences = [str(difference) for difference in check(entries)]
    made += [entry.time for entry in entries if isinstance(entry.message, Events) and _progress(entry.message)]


def _progress(events: Events) -> bool:
    return bool(events.done or events.chains or events.produced or events.written)


def files_in(folder: Path) -> list[SinkFile]:
    """Every file below a folder, temporary ones too."""
    return [
        SinkFile(path=str(path), bytes=path.stat().st_size, checksum=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
