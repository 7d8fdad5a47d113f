"""The consumers of the streams: those that a cluster at rest has, and those that it has after its clients have gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from headrace.bus import BusSettings
from headrace_schemas.streams import BUCKETS, STREAMS

NAMES = [stream.name for stream in STREAMS] + [f"KV_{bucket.name}" for bucket in BUCKETS]


class Consumer(msgspec.Struct, frozen=True):
    """A consumer. followed: whether a connection listens to it. expires: seconds without one after which the server removes it; 0: never.
    durable: its name, if it has one that outlives its connections."""

    stream: str
    followed: bool
    expires: float
    durable: str = ""


def consumers_left(before: list[Consumer], after: list[Consumer]) -> Iterator[str]:
    """What is wrong with the consumers that are there after the clients have gone. before: those of the same cluster at rest."""
    known = {(consumer.stream, consumer.durable) for consumer in before if not consumer.expires}
    for consumer in after:
        if not consumer.expires and (consumer.stream, consumer.durable) not in known:
            yield f"{consumer.stream} has a consumer that never expires: {consumer.durable or 'unnamed'}"
    followed = [Counter(consumer.stream for consumer in found if consumer.followed) for found in (before, after)]
    for stream, count in followed[1].items():
        if count > followed[0][stream]:
            yield f"{stream} has {count} consumers that somebody follows, {count - followed[0][stream]} more than before"


def write_consumers(settings: BusSettings, written: Path) -> int:
    """List all consumers into a file. Returns an exit status."""
    written.write_bytes(msgspec.json.encode(asyncio.run(_list(settings))))
    return 0


def read_consumers(written: Path) -> list[Consumer]:
    """What `write_consumers` wrote; nothing if it did not."""
    return msgspec.json.decode(written.read_bytes(), type=list[Consumer]) if written.exists() else []


async def _list(settings: BusSettings) -> list[Consumer]:
    import nats

    connection = await nats.connect(settings.url, token=settings.token)
    try:
        manager = connection.jsm()
        return [
            Consumer(name, info.push_bound is True, (info.config.inactive_threshold or 0.0), info.config.durable_name or "")
            for name in NAMES
            for info in await manager.consumers_info(name)
        ]
    finally:
        await connection.close()
