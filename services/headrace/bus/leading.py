"""Leading by a lease over a state machine that is folded from the log: what services of which one decides have in common."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from headrace.bus.bus import Bus
from headrace.bus.feed import until_caught_up
from headrace.bus.lease import Lease
from headrace.bus.log import Entry, LogFeed, OnEntries
from headrace.errors import PublishRefused
from headrace.logs import get_log
from headrace.telemetry import LEADING, Family, gauge

log = get_log(__name__)


class Machine(Protocol):
    """A state machine of one term."""

    @property
    def last_seq(self) -> int:
        """Sequence of the last entry that was folded, 0 before the first."""

    def fold(self, entries: list[Entry], /) -> None:
        """Take in the next entries of the log."""

    def status(self) -> dict[str, object]:
        """What it knows, for people and tools."""


M = TypeVar("M", bound=Machine)


class Role(NamedTuple):
    """What is led, and on which subjects of the log.

    lease: key of the lease, which lasts lease_ttl seconds. followed: what others write. own: what leaders write, read only to catch up with
    those before: a leader knows what it wrote itself, and does not have it sent back. retry_delay: seconds before the log is folded anew
    after it refused something. writes: what that is called in our own log. rest: seconds for which a leader reads nothing after each read,
    see `pace`.
    """

    lease: str
    followed: Iterable[str]
    own: Iterable[str]
    lease_ttl: float
    retry_delay: float
    writes: str
    rest: float = 0.0


class Leader(Generic[M]):
    """Waits for the lease, folds the log to its end, then leads until the lease is lost; and from the beginning with a new machine.

    begin: makes the machine of a term. reader: makes what takes the entries that come while that machine leads, and is to fold them.
    decide: called once when the machine has caught up and leads, to publish what nobody has.
    machine: the one that leads now, or None.
    """

    def __init__(
        self, bus: Bus, role: Role, begin: Callable[[int], M], reader: Callable[[M], OnEntries], decide: Callable[[M], None]
    ) -> None:
        self.machine: M | None = None
        self._bus = bus
        self._role = role
        self._begin = begin
        self._reader = reader
        self._decide = decide
        self._failed: asyncio.Future[None]

    async def run(self) -> None:
        """Lead, or stand by to lead, until cancelled. Raises what ended the feed of the log, or was given to `fail`, but for refusals."""
        role = self._role
        lease = self._bus.lease(role.lease, holder_name(), role.lease_ttl)
        while True:
            await lease.acquire()
            try:
                await self._term(lease)
            except PublishRefused as error:
                log.error("what was written was refused; folding the log anew", writes=role.writes, seconds=role.retry_delay, error=error)
                await asyncio.sleep(role.retry_delay)
            finally:
                self.machine = None
                await lease.release()

    def fail(self, error: BaseException) -> None:
        """Something that was decided did not get into the log, so what was decided on it is void: stop leading. The first error counts.

        To be called by what the machine that leads set off, so not before there was one.
        """
        if not self._failed.done():
            self._failed.set_exception(error)

    async def status(self, _request: bytes) -> bytes:
        """What a micro service answers: whether this one leads, and what its machine knows, as JSON."""
        machine = self.machine
        known = machine.status() if machine is not None else {}
        return msgspec.json.encode({"leading": machine is not None, "metrics": self._bus.metrics_address, **known})

    def leading(self) -> Family:
        """For Prometheus: whether this one leads."""
        return gauge(*LEADING, self.machine is not None)

    async def _term(self, lease: Lease) -> None:
        """Lead until the lease is lost. Raises PublishRefused if the log did not take what was written."""
        machine = self._begin(lease.term)
        lost = asyncio.ensure_future(lease.lost.wait())
        try:
            if await self._catch_up(machine, lost):
                await self._lead(machine, lost)
        finally:
            lost.cancel()

    async def _catch_up(self, machine: M, lost: asyncio.Future[Any]) -> bool:
        """Fold everything that is in the log. False if the lease was lost before that was done."""
        feed = await LogFeed.open(self._bus, [*self._role.followed, *self._role.own], machine.fold)
        caught_up = asyncio.ensure_future(until_caught_up(feed))
        try:
            await asyncio.wait([caught_up, lost], return_when=asyncio.FIRST_COMPLETED)
            if caught_up.done():
                caught_up.result()
            return caught_up.done()
        finally:
            caught_up.cancel()
            await feed.close()

    async def _lead(self, machine: M, lost: asyncio.Future[Any]) -> None:
        """Hand on everything that others write from here on."""
        self._failed = asyncio.get_running_loop().create_future()
        self.machine = machine  # what comes with the opening of the feed is the leader's already
        feed = await LogFeed.open(self._bus, self._role.followed, self._reader(machine), from_seq=machine.last_seq + 1)
        try:
            self._bus.pace.rest = self._role.rest
            self._decide(machine)
            ends = [feed.ended, lost, self._failed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
        finally:
            self._bus.pace.rest = 0.0
            await feed.close()


def holder_name() -> str:
    """What this process is called as the holder of a lease: its host and its process id."""
    return f"{socket.gethostname()}-{os.getpid()}"
