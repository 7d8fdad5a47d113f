"""Leading by a lease over a state machine that is folded from the log: what services of which one decides have in common."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from headrace.bus.bus import Bus
from headrace.bus.feed import until_caught_up
from headrace.bus.log import LogFeed
from headrace.bus.reading import Entry
from headrace.bus.snapshots import Snapshots
from headrace.errors import LogRewound, NatsUnreachable, PublishRefused
from headrace.logs import get_log
from headrace.telemetry import LEADING, Family, gauge
from headrace_schemas import LedgerSnapshot

log = get_log(__name__)

UNREACHABLE_DELAY = 0.5
"""Seconds until a service stands by again, once NATS did not answer to a request of its."""


class Machine(Protocol):
    """A state machine of one term, alone or with what it needs."""

    @property
    def last_seq(self) -> int:
        """Sequence of the last entry that was folded, 0 before the first."""

    def fold(self, entries: list[Entry], /) -> None:
        """Take in the next entries of the log."""

    def status(self) -> dict[str, object]:
        """What it knows, for people and tools."""

    def snapshot(self, service: str, /) -> LedgerSnapshot | None:
        """What a service that starts needs to read of the log to know the same; None if that cannot be said just now."""

    def recognise(self, forgotten: Iterable[str], /) -> None:
        """Ignore these jobs, which are over, if they are submitted again."""


M = TypeVar("M", bound=Machine)
Ends = Iterable[asyncio.Future[Any]]
"""What ends a term, beside the loss of the lease; with the exception that it has, if it has one."""


class Role(NamedTuple):
    """What is led, and on which subjects of the log.

    lease: key of the lease, which lasts lease_ttl seconds. followed: what others write. own: what leaders write, read only to catch up with
    those before: a leader knows what it wrote itself, and does not have it sent back. retry_delay: seconds before the log is folded anew
    after it refused something; None if a refusal ends the service. writes: what that is called in our own log. rest: seconds for which a
    leader reads nothing after each read, see `pace`.
    """

    lease: str
    followed: Iterable[str]
    own: Iterable[str]
    lease_ttl: float
    retry_delay: float | None
    writes: str
    rest: float = 0.0


class Leader(Generic[M]):
    """Waits for the lease, folds the log to its end, then leads until the lease is lost; and again with a new machine. Of the log it folds
    what a snapshot selects, see `snapshots`.

    begin: makes the machine of a term. attend: entered when the machine has caught up and leads, to publish what nobody has and to begin
    with whatever else goes on while it leads; left when the term ends. on_entries: takes what others write from then on, and is to fold it.
    """

    def __init__(
        self,
        bus: Bus,
        role: Role,
        begin: Callable[[int], M],
        attend: Callable[[M], AbstractAsyncContextManager[Ends]],
        on_entries: Callable[[M, list[Entry]], None],
    ) -> None:
        self._bus = bus
        self._role = role
        self._begin = begin
        self._attend = attend
        self._on_entries = on_entries
        self._holder = _holder_name()
        self._lease = bus.lease(role.lease, self._holder, role.lease_ttl)
        self._machine: M | None = None
        self._snapshots = Snapshots(bus, role.lease)
        self._failed: asyncio.Future[None]

    @property
    def machine(self) -> M | None:
        """The one that leads now, or None. Once the lease is lost another may lead, so none does here.

        To be asked before anything is written, also after long work: the lease may have been lost meanwhile.
        """
        return self._machine if self._machine is not None and self._lease.held else None

    async def run(self) -> None:
        """Lead, or stand by to lead, until cancelled. Raises the error that ended a term. Two kinds of errors are not raised: after a
        refusal or a loss the log is folded anew, and a server that does not answer is waited for.

        That is the error of the feed of the log, of what is attended to, or what was given to `fail`.
        """
        role = self._role
        self._bus.wait_for_room()
        while True:
            try:
                await self._lease.acquire()
                await self._term()
            except LogRewound:
                self._bus.give_up()
                log.error("what was decided may not be in the log: folding it anew", lease=role.lease)
            except NatsUnreachable as error:
                log.warning("NATS does not answer: standing by again", lease=role.lease, error=error)
                await asyncio.sleep(UNREACHABLE_DELAY)
            except PublishRefused as error:
                if role.retry_delay is None:
                    raise
                log.error("what was written was refused; folding the log anew", writes=role.writes, seconds=role.retry_delay, error=error)
                await asyncio.sleep(role.retry_delay)
            finally:
                self._machine = None
                await self._lease.release()

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
        of_process = {"metrics": self._bus.metrics_address, "snapshot": self._snapshots.seq, **self._bus.reading.status()}
        return msgspec.json.encode({"leading": machine is not None, **of_process, **known})

    def leading(self) -> Family:
        """For Prometheus: whether this one leads."""
        return gauge(*LEADING, self.machine is not None)

    async def _term(self) -> None:
        """Lead until the lease is lost. Raises what ended the term before that."""
        machine = self._begin(self._lease.term)
        lost = asyncio.ensure_future(self._lease.lost.wait())
        try:
            await self._bus.terms.begin(self._role.lease, self._holder, self._lease.term)
            if await self._catch_up(machine, lost):
                await self._lead(machine, lost)
        finally:
            lost.cancel()
            if self._lease.lost.is_set():
                self._bus.give_up()

    async def _catch_up(self, machine: M, lost: asyncio.Future[Any]) -> bool:
        """Fold everything that is in the log. False if the lease was lost before that was done."""
        reading = asyncio.ensure_future(self._read(machine))
        try:
            await asyncio.wait([reading, lost], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            return reading.done()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, machine: M) -> None:
        """Fold what a snapshot selects of the log, and all that follows; without a snapshot, all."""
        subjects, snapshot = [*self._role.followed, *self._role.own], await self._snapshots.load()
        if snapshot is not None:
            machine.recognise(snapshot.over)
            await self._snapshots.read(snapshot, subjects, machine.fold)
        feed = await LogFeed.open(self._bus, subjects, machine.fold, from_seq=snapshot.seq if snapshot is not None else 1, whole=True)
        try:
            await until_caught_up(feed)
        finally:
            await feed.close()

    async def _lead(self, machine: M, lost: asyncio.Future[Any]) -> None:
        """Attend to what else there is, and hand on everything that others write from here on."""
        self._failed = asyncio.get_running_loop().create_future()
        self._machine = machine
        async with self._attend(machine) as others:
            on_entries, start = partial(self._take, machine), machine.last_seq + 1
            self._note(machine)
            feed = await LogFeed.open(self._bus, self._role.followed, on_entries, from_seq=start, whole=True)
            try:
                self._bus.pace.rest = self._role.rest
                ends = [feed.ended, lost, self._failed, *others]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                errors = [error for end in ends if end.done() and (error := end.exception()) is not None]
                if errors:
                    raise errors[0]
            finally:
                self._bus.pace.rest = 0.0
                self._snapshots.stop()
                await feed.close()

    def _take(self, machine: M, entries: list[Entry]) -> None:
        """Hand on what others wrote."""
        self._on_entries(machine, entries)
        if entries[-1].seq >= self._snapshots.due:
            self._note(machine)

    def _note(self, machine: M) -> None:
        """Have a snapshot stored now and then."""
        self._snapshots.folded(machine.last_seq, partial(self._snapshot, machine))

    def _snapshot(self, machine: M) -> LedgerSnapshot | None:
        return machine.snapshot(self._role.lease) if self.machine is machine else None


def _holder_name() -> str:
    """What this process is called as the holder of a lease: its host, its process id, and something random, for containers of one image may
    have the first two in common."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
