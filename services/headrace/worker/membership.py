"""A host's membership in the cluster: its name, held by a lease, and its epoch."""

from __future__ import annotations

import asyncio
import time

import msgspec

from headrace.bus import Bus, Lease
from headrace.errors import HeadraceError
from headrace.worker.settings import Settings
from headrace_schemas import HostEntry, HostJoined, HostLost, encode, streams, subjects
from headrace_schemas.reading import Unreadable, decode

_POLLS = 20
"""How often a name that somebody holds is looked at within one time to live."""
_facts: msgspec.json.Decoder[HostJoined | HostLost] = msgspec.json.Decoder(HostJoined | HostLost)


class HostTaken(HeadraceError):
    """Another worker that is alive is registered under this host's name."""


async def next_epoch(bus: Bus, host: str, before: int) -> int:
    """An epoch for a host that joins (again): the time in milliseconds, or more, so that it is above the last epoch of this process
    (`before`) and of the last host with this name in the log. A clock that was set back must not make a host older."""
    record = await bus.last(streams.LOG.name, subjects.host(host))
    try:
        logged = decode(_facts, record.data).epoch if record is not None else 0
    except Unreadable:
        logged = 0
    return max(time.time_ns() // 1_000_000, before + 1, logged + 1)


async def register(bus: Bus, settings: Settings, entry: HostEntry) -> Lease:
    """Take the host's name. A worker that was killed holds it until its lease runs out.

    Raises HostTaken if another worker holds the name and keeps renewing its lease.
    """
    lease = Lease(bus, streams.HOSTS.name, settings.host, encode(entry), settings.lease_seconds, lapses=False)
    contention = Contention(settings.lease_seconds + 2 * streams.HOSTS.markers + 1)
    bucket = bus.kv(streams.HOSTS.name)
    while not await lease.try_acquire():
        held = await bucket.get(settings.host)
        if held is not None and contention.is_lost(held.revision, time.monotonic()):
            raise HostTaken(f"another worker is registered as {settings.host!r}: give each host its own name (--host or HEADRACE_HOST)")
        await asyncio.sleep(settings.lease_seconds / _POLLS)
    return lease


class Contention:
    """Whether a living worker holds a name: its lease was renewed after the first look, and is still there `seconds` later.

    A lease that is merely there proves nothing: the server may have been stopped, so that it has not removed expired leases yet.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: tuple[int, float] | None = None

    def is_lost(self, revision: int, now: float) -> bool:
        """Look at the lease's revision."""
        if self._first is None:
            self._first = revision, now
        seen, since = self._first
        return revision != seen and now - since > self._seconds
