"""A host's membership in the cluster: its name, held by a lease, and its epoch."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from headrace.bus import Bus, Lease
from headrace.errors import HeadraceError
from headrace.worker.settings import Settings
from headrace_schemas import HostEntry, HostJoined, HostLost, TermBegan, encode, streams, subjects
from headrace_schemas.reading import Unreadable, decode, read

_POLLS = 20
"""The number of tries to take a held name within the duration of a lease."""
_facts: msgspec.json.Decoder[HostJoined | HostLost] = msgspec.json.Decoder(HostJoined | HostLost)
_began = msgspec.json.Decoder(TermBegan)
_FENCED = ("controller", "scheduler")
"""The services of which readers ignore decisions of earlier terms."""


class HostTaken(HeadraceError):
    """Another worker that is alive is registered under this host's name."""


async def next_epoch(bus: Bus, host: str, before: int) -> int:
    """Return an epoch for a host that joins or rejoins: the time in milliseconds since 1970, or more.

    It is above the last epoch of this process (`before`) and above the last epoch of this name in the log, even if the clock was set back.
    """
    record = await bus.last(streams.LOG.name, subjects.host(host))
    try:
        logged = decode(_facts, record.data).epoch if record is not None else 0
    except Unreadable:
        logged = 0
    return max(time.time_ns() // 1_000_000, before + 1, logged + 1)


async def latest_terms(bus: Bus) -> list[TermBegan]:
    """Return the last `TermBegan` of each service. A host that starts has not read it, but must ignore late decisions of former leaders."""
    records = await asyncio.gather(*(bus.last(streams.LOG.name, subjects.term(service)) for service in _FENCED))
    found = []
    for record in records:
        with contextlib.suppress(Unreadable):
            if record is not None:
                began = read(_began, record.data, record.subject)
                if await bus.terms.check_term(began.service, began.term):
                    found.append(began)
    return found


async def register(bus: Bus, settings: Settings, entry: HostEntry) -> Lease:
    """Acquire the lease of the host's name. The name of a worker that was killed is free once its lease has run out.

    Raises HostTaken if another worker holds the name and keeps renewing its lease.
    """
    lease = Lease(bus, streams.HOSTS.name, settings.host, encode(entry), settings.lease_seconds, lapses=False)
    contention = Contention(settings.lease_seconds + 2 * streams.HOSTS.markers + 1)
    bucket = bus.kv(streams.HOSTS.name)
    while not await lease.try_acquire():
        held = await bucket.get(settings.host)
        if held is not None and contention.is_lost(held.revision, time.monotonic()):
            raise HostTaken(f"another worker is registered as {settings.host!r}. Give each host its own name (--host or HEADRACE_HOST)")
        await asyncio.sleep(settings.lease_seconds / _POLLS)
    return lease


class Contention:
    """The check whether a living worker holds a name: its lease was renewed after the first look, and still exists `seconds` later.

    The mere existence of a lease proves nothing: if the server was stopped, it has not removed expired leases yet.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: tuple[int, float] | None = None

    def is_lost(self, revision: int, now: float) -> bool:
        """Note the revision of the lease, and return whether another worker holds it. now: seconds of any monotonic clock."""
        if self._first is None:
            self._first = revision, now
        seen, since = self._first
        return revision != seen and now - since > self._seconds
