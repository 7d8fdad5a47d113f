"""A snapshot of more open jobs than fit into one message, on a real server."""

from __future__ import annotations

import asyncio

from headrace.bus import Bus
from headrace.bus.snapshots import Snapshots
from headrace_schemas import SCHEMA_VERSION, SNAPSHOT_LAYOUT, LedgerSnapshot, subjects
from headrace_schemas.streams import LOG

JOBS = 100_000


def test_a_snapshot_of_100_000_open_jobs_is_stored_and_loaded(runner: asyncio.Runner, bus: Bus) -> None:
    async def body() -> None:
        seq = await bus.publish(subjects.submitted("a"), b"{}")
        record = await bus.at(LOG.name, seq)
        assert record is not None
        snapshot = LedgerSnapshot(
            service="controller",
            schema=SCHEMA_VERSION,
            layout=SNAPSHOT_LAYOUT,
            seq=seq,
            time=record.time,
            jobs=[f"{number:012}" for number in range(JOBS)],
            first=[1],
            last=[seq],
        )
        await Snapshots(bus, "controller")._store(snapshot)
        assert await Snapshots(bus, "controller").load() == snapshot

    runner.run(body())
