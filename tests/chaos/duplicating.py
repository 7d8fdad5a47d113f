"""Messages that come twice: reports of hosts are published again, as they would be by a host that lost NATS's answer and sent them again
after the stream had forgotten them. Decisions of leaders are left out: each is written once, under its leader's term."""

from __future__ import annotations

import asyncio
import time

from headrace.bus import Bus, BusSettings, Record
from headrace_schemas import subjects
from headrace_schemas.streams import LOG


def duplicate(settings: BusSettings, seconds: float) -> int:
    """Publish each report once more, for some seconds. Returns an exit status."""
    asyncio.run(_duplicate(settings, time.monotonic() + seconds))
    return 0


async def _duplicate(settings: BusSettings, end: float) -> None:
    async with await Bus.connect(settings, "chaos-duplicates") as bus:
        found: list[Record] = []
        ours: set[int] = set()
        feed = await bus.follow(LOG.name, subjects.families("event"), found.extend)
        while time.monotonic() < end:
            records, found[:] = list(found), []
            for record in records:
                if record.seq not in ours:
                    ours.add(await bus.publish(record.subject, bytes(record.data)))
            await asyncio.sleep(0.01)
        await feed.close()
