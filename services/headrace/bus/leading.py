"""Leadership: a lease, and a state machine that is folded from the log. All services that elect a leader share this."""

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
from headrace_schemas import LedgerSnapshot, TermBegan

log = get_log(__name__)

UNREACHABLE_DELAY = 0.5
"""Seconds until a service becomes a standby again after NATS did not answer one of its requests."""


class Machine(Protocol):
    """The state machine of one term, alone or with its environment."""

    @property
    def last_seq(self) -> int:
        """Sequence of the last folded entry, 0 before the first."""

    def fold(self, entries: list[Entry], /) -> None:
        """Fold the next entries of the log."""

    def status(self) -> dict[str, object]:
        """Return its state, for people and tools."""

    def snapshot(self, service: str, /) -> LedgerSnapshot | None:
        """Return the parts of the log that lead to the same state; None if they cannot be determined at the moment."""

    def recognise(self, forgotten: Iterable[str], /) -> None:
        """Ignore these jobs, which are over, if they are submitted again."""


M = TypeVar("M", bound=Machine)
Ends = Iterable[asyncio.Future[Any]]
"""Futures that end a term when they are done, in addition to the loss of the lease. Their exceptions are raised."""


class Role(NamedTuple):
    """The role of a service that elects a leader.

    lease: key of the lease, which lasts lease_ttl seconds. followed: subjects of other writers. own: subjects of the leaders of this
    service, read only to catch up with former leaders: a leader knows what it wrote itself, and does not read it again. retry_delay:
    seconds before the log is folded anew after it refused a message; None if a refusal ends the service. writes: the word for these
    messages in our own log. rest: seconds for which a leader reads nothing after each read, see `pace`. fences: whether `Leader` calls
    `fence` before it reads the log. A leader that reads its own messages back can call it later, while it does other work.
    """

    lease: str
    followed: Iterable[str]
    own: Iterable[str]
    lease_ttl: float
    retry_delay: float | None
    writes: str
    rest: float = 0.0
    fences: bool = False


class Leader(Generic[M]):
    """Runs a service that elects a leader.

    It waits for the lease, folds the log to its end, leads until it loses the lease, and starts again with a new machine. Of the log it
    folds what a snapshot selects, see `snapshots`.

    begin: makes the machine of a term. attend: a context that is entered when the machine has caught up and leads, and left when the term
    ends. It publishes the decisions that no earlier leader has published, and starts other work of a leader. on_entries: gets the entries
    that other services write from then on, and must fold them.
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
        """The machine that leads now, or None. If the lease is lost, another process may lead.

        Check this before you write anything, also after long work: the lease may have been lost meanwhile.
        """
        return self._machine if self._machine is not None and self._lease.held else None

    async def run(self) -> None:
        """Lead, or wait to lead, until cancelled.

        Raises the error that ended a term, with two exceptions: after a refusal or a loss of messages the log is folded anew, and if NATS
        does not answer, the service waits for it.

        The error comes from the feed of the log, from the work that was attended to, or from `fail`.
        """
        role = self._role
        self._bus.wait_for_room()
        while True:
            try:
                await self._lease.acquire()
                await self._term()
            except LogRewound:
                self._bus.give_up()
                log.error("the log may lack decisions of this leader: folding it anew", lease=role.lease)
            except NatsUnreachable as error:
                log.warning("NATS does not answer: becoming a standby again", lease=role.lease, error=error)
                await asyncio.sleep(UNREACHABLE_DELAY)
            except PublishRefused as error:
                if role.retry_delay is None:
                    raise
                log.error("the log refused a message; folding the log anew", writes=role.writes, seconds=role.retry_delay, error=error)
                await asyncio.sleep(role.retry_delay)
            finally:
                self._machine = None
                await self._lease.release()

    async def fence(self, at: int = 0) -> int:
        """Write `TermBegan` into the log, and return its sequence. at: the last sequence that was folded.

        Decisions of former leaders may still be on their way to the log. All readers accept those that arrive before this message, and
        ignore those that arrive after it. So the leader must fold the log up to this message before it decides. Raises PublishRefused, and
        LogRewound if the log lost its last messages before it stored this one.
        """
        began = TermBegan(at=at, term=self._lease.term, service=self._role.lease)  # type: ignore[arg-type]
        stored = self._bus.publish(began.subject(), began)
        await asyncio.wait([stored])
        if stored.cancelled():
            raise LogRewound("the log lost its last messages before it stored the beginning of this term")
        return stored.result()

    def fail(self, error: BaseException) -> None:
        """Stop leading, because a decision did not get into the log, so that what follows from it is void. The first error counts.

        Only effects of the machine that leads may call this, so not before there is one.
        """
        if not self._failed.done():
            self._failed.set_exception(error)

    async def status(self, _request: bytes) -> bytes:
        """Return the status of the service as JSON: whether this process leads, and the state of its machine."""
        machine = self.machine
        known = machine.status() if machine is not None else {}
        of_process = {"metrics": self._bus.metrics_address, "snapshot": self._snapshots.seq, **self._bus.reading.status()}
        return msgspec.json.encode({"leading": machine is not None, **of_process, **known})

    def leading(self) -> Family:
        """Return the metric that says whether this process leads."""
        return gauge(*LEADING, self.machine is not None)

    async def _term(self) -> None:
        """Lead until the lease is lost. Raises the error that ended the term before that."""
        machine = self._begin(self._lease.term)
        lost = asyncio.ensure_future(self._lease.lost.wait())
        try:
            await self._bus.terms.begin_term(self._role.lease, self._holder, self._lease.term)
            if await self._catch_up(machine, lost):
                await self._lead(machine, lost)
        finally:
            lost.cancel()
            if self._lease.lost.is_set():
                self._bus.give_up()

    async def _catch_up(self, machine: M, lost: asyncio.Future[Any]) -> bool:
        """Fold the log to its end. Returns False if the lease was lost before that."""
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
        """Fold the part of the log that a snapshot selects, and everything after it; without a snapshot, fold the whole log."""
        if self._role.fences:
            await self.fence()
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
        """Attend to other work, and pass on everything that others write from now on."""
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
        """Pass on what others wrote."""
        self._on_entries(machine, entries)
        if entries[-1].seq >= self._snapshots.due:
            self._note(machine)

    def _note(self, machine: M) -> None:
        """Store a snapshot from time to time."""
        self._snapshots.folded(machine.last_seq, partial(self._snapshot, machine))

    def _snapshot(self, machine: M) -> LedgerSnapshot | None:
        return machine.snapshot(self._role.lease) if self.machine is machine else None


def _holder_name() -> str:
    """Return the name of this process as the holder of a lease: its host, its process id, and a random part.

    The random part is necessary because containers of one image may have the same host name and process id.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
