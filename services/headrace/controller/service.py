"""The controller as a process: feeds `state.Controller` with the log, and publishes what it decides.

One controller leads at a time, by a lease whose revision is its term. It reads the log from its beginning, and when it has caught up it
takes requests, watches the hosts' leases, and decides. When it loses the lease it stops at once and stands by again, with nothing
remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any

import msgspec

from headrace.bus import Bus, BusSettings, Entry, Feed, LogFeed, ensure_data_key, holder_name, until_caught_up
from headrace.bus.bus import Consumption
from headrace.controller.entries import Entries
from headrace.controller.later import Later
from headrace.controller.metrics import families
from headrace.controller.settings import Settings
from headrace.controller.spans import begin_adopted, processing, trace_decisions
from headrace.controller.state import Controller, Decided
from headrace.controller.written import BadRequest, Note, is_news, missing, note_of_host, note_of_loss, note_of_request
from headrace.errors import HeadraceError
from headrace.ledger import JobLedger
from headrace.logs import get_log
from headrace.telemetry import LEADING, Family, gauge
from headrace.tracing import now
from headrace_schemas import Ended, HostEntry, Needed, Purge, decoder, subjects
from headrace_schemas.streams import HOSTS, REQUESTS

log = get_log(__name__)

NAME = "headrace-controller"
LEASE = "controller"
DURABLE = "controller"
"""Name of the consumer of the requests: all controllers share it, and one leads."""
FOLLOWED = [*subjects.families("job", "plan", "assign", "event", "purge", "host"), subjects.ALL_COMMITTED]
"""Everything but what was announced of outputs that are held for the client, from which nothing follows."""
TICK = 1.0
"""Seconds between looks at jobs that are over."""

_decode_host = decoder(HostEntry).decode


class LeaseLost(HeadraceError):
    """Another controller may lead: this one must not decide any more."""


async def run(settings: Settings, bus_settings: BusSettings) -> None:
    """Lead, or stand by to lead, until cancelled. Raises HeadraceError when it cannot go on (the log is full, or of a newer schema)."""
    async with await Bus.connect(bus_settings, NAME) as bus:
        await bus.ensure_streams()
        await bus.ensure_buckets()
        await ensure_data_key(bus)
        service = Service(bus, settings)
        await bus.serve(NAME, "the life of jobs", {"status": service.status}, service.metrics)
        while True:
            try:
                await service.lead()
            except LeaseLost as error:
                log.error("the lease is lost", error=error)


class Service:
    """Stands by, and leads when it is its turn."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus = bus
        self._settings = settings
        self._leading: Leading | None = None

    async def lead(self) -> None:
        """Wait for the lease, then lead until it is lost: then LeaseLost is raised."""
        lease = self._bus.lease(LEASE, holder_name(), self._settings.lease_ttl)
        term = await lease.acquire()
        leading = self._leading = Leading(self._bus, self._settings, term, lease.lost)
        try:
            await leading.run()
        finally:
            self._leading = None
            await lease.release()

    async def status(self, _request: bytes) -> bytes:
        """For people and tools: what this controller knows, as JSON."""
        leading = self._leading
        known = {"leading": False} if leading is None else leading.status()
        return msgspec.json.encode({"metrics": self._bus.metrics_address, **known})

    def metrics(self) -> Iterator[Family]:
        """For Prometheus: whether this one leads, and then what it knows."""
        leading = self._leading if self._leading is not None and self._leading.decides else None
        yield gauge(*LEADING, leading is not None)
        if leading is not None:
            yield from leading.metrics()


class Leading:
    """One term. decides: whether it has caught up, and leads."""

    def __init__(self, bus: Bus, settings: Settings, term: int, lost: asyncio.Event) -> None:
        self._bus = bus
        self._settings = settings
        self._term = term
        self._lost = lost
        self._controller = Controller(term, settings.limits)
        self._entries = Entries(bus, settings)
        self.decides = False
        self._registered: dict[str, int] = {}
        self._hosts_lost = 0
        self._later = Later(settings.linger)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._looked = 0.0

    async def run(self) -> None:
        """Catch up, serve, and stop when the lease is lost or something fails that nobody else can mend."""
        open_: list[Feed | LogFeed | Consumption] = []
        lost, ticking = waiting = [asyncio.ensure_future(some) for some in (self._lost.wait(), self._tick())]
        try:
            feed = await LogFeed.open(self._bus, FOLLOWED, self._on_entries)
            open_.append(feed)
            waiting.append(asyncio.ensure_future(feed.caught_up.wait()))
            await self._until(*waiting, feed.ended)
            await self._entries.load(self._controller.ledger.jobs)
            self._begin()
            hosts = await self._watch_hosts()
            open_.append(hosts)
            open_.append(await self._bus.requests(REQUESTS.name, DURABLE, self._on_request))
            log.info("leading", term=self._term, seq=self._controller.ledger.last_seq)
            await self._until(lost, feed.ended, hosts.ended, self._failed, ticking)
        finally:
            self.decides = False
            self._bus.pace.rest = 0.0
            self._later.flush()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*(reader.close() for reader in open_), self._entries.close(), return_exceptions=True)

    async def _until(self, *what: asyncio.Future[Any]) -> None:
        """Wait for the first of these. Raises what it raised, and LeaseLost if the lease was lost."""
        done, _ = await asyncio.wait(what, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()
        if self._lost.is_set():
            raise LeaseLost(f"the lease of term {self._term} is lost: another controller may lead, this one stops and stands by")

    # --- the log in, decisions out ----------------------------------------------------------------------------------------

    def _on_entries(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._controller.fold(entry)
        if self.decides:
            if self._bus.tracing is not None:
                begin_adopted(self._bus.tracing, entries)
            self._decide()
        self._forget(entries[-1].time)

    def _begin(self) -> None:
        """Everything that was written is folded: from here on decide, beginning with what nobody has."""
        self.decides = True
        self._bus.pace.rest = self._settings.rest
        self._decide()

    def _decide(self) -> None:
        if self._lost.is_set():
            return
        at, began = self._controller.ledger.last_seq, now()
        decisions = self._controller.decide(at)
        if self._bus.tracing is not None:
            trace_decisions(self._bus.tracing, decisions, began)
        notes = [Note(_subject(decision), decision, f"decided.{self._term}.{at}.{place}") for place, decision in enumerate(decisions)]
        if all(map(self._is_known, decisions)):
            self._later.do(*(partial(self._publish, note) for note in notes))
        else:
            self._later.flush()
            for note in notes:
                self._publish(note)
        for job in self._controller.seen:
            self._entries.changed(job)

    def _is_known(self, decision: Decided) -> bool:
        """Whether it is the end of a job that everybody knows to be done who reads the values of its outputs."""
        return isinstance(decision, Ended) and self._controller.ledger.jobs[decision.job].done_by_values

    def _publish(self, note: Note) -> None:
        self._bus.publish(note.subject, note.message, msg_id=note.msg_id).add_done_callback(self._published)

    def _published(self, stored: asyncio.Future[int]) -> None:
        """What is decided must get into the log: if it is refused for good, this controller cannot go on."""
        if stored.cancelled() or self._failed.done():
            return
        error = stored.exception()
        if error is not None:
            self._failed.set_exception(error)

    # --- requests ---------------------------------------------------------------------------------------------------------

    def _on_request(self, data: bytes, headers: bytes) -> Awaitable[object]:
        """Write a request down at once; it is done when the log has it, and that can be said later."""
        try:
            note = note_of_request(data, self._controller.ledger.last_seq, self._term)
        except BadRequest as error:
            log.warning("a request is ignored", error=error)
            return _nothing()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._bus.tracing is not None:
            done.add_done_callback(processing(self._bus.tracing, note, headers))
        self._bus.publish(note.subject, note.message, msg_id=note.msg_id).add_done_callback(partial(self._written, done))
        return done

    def _written(self, done: asyncio.Future[None], stored: asyncio.Future[int]) -> None:
        if stored.cancelled():
            done.cancel()
        elif (error := stored.exception()) is not None:
            done.set_exception(error)
        else:
            self._later.do(partial(done.set_result, None))

    # --- hosts ------------------------------------------------------------------------------------------------------------

    async def _watch_hosts(self) -> Feed:
        feed = await self._bus.kv(HOSTS.name).watch(self._on_host)
        await until_caught_up(feed)
        for host, epoch in missing(self._controller.ledger.hosts, set(self._registered)):
            self._lost_host(host, epoch)
        return feed

    def _on_host(self, key: str, value: bytes | None, _revision: int) -> None:
        if value is None:
            epoch = self._registered.pop(key, None)
            if epoch is not None:
                self._lost_host(key, epoch)
            return
        try:
            entry = _decode_host(value)
            subjects.token(entry.host)
        except (msgspec.DecodeError, ValueError) as error:
            log.error("a host is ignored, for its entry cannot be read", host=key, error=error)
            return
        known = self._registered.get(entry.host)
        self._registered[entry.host] = entry.epoch
        if known != entry.epoch and is_news(entry, self._controller.ledger.hosts):
            self._publish(note_of_host(entry, self._at, self._term))

    def _lost_host(self, host: str, epoch: int) -> None:
        self._hosts_lost += 1
        log.warning("a host left, or was lost: what it had to do goes to the others", host=host)
        self._publish(note_of_loss(host, epoch, self._at, self._term))

    @property
    def _at(self) -> int:
        return self._controller.ledger.last_seq

    # --- jobs that are over -------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._forget(time.time())
            if self.decides:
                self._release(time.time())
                self._strand(time.monotonic())

    def _forget(self, now: float) -> None:
        """Drop from memory what ended long ago and of which no host holds anything. now: by the log's clock."""
        if now - self._looked < TICK:
            return
        self._looked = now
        for job in list(self._controller.ledger.jobs.values()):
            if job.end is not None and now - job.ended_at > self._settings.forget_after and _released(job):
                self._controller.forget(job.job)
                self._entries.forget(job.job)

    def _release(self, now: float) -> None:
        """Give up outputs that nobody fetched. That is written down like a client's release, and acted on when it is in the log."""
        for released in self._controller.expired(now, self._settings.output_expiry):
            self._publish(Note(subjects.state(released.job), released, f"expired.{released.job}"))

    def _strand(self, now: float) -> None:
        """Say of which jobs some tasks have found no host for a while. That, too, is written down first."""
        for stranded in self._controller.stranded(now, self._settings.host_grace):
            self._publish(Note(subjects.state(stranded.job), stranded, f"stranded.{stranded.job}.{stranded.at}"))

    def metrics(self) -> Iterator[Family]:
        """For Prometheus."""
        return families(self._controller.counts, self._controller.ledger, self._hosts_lost)

    def status(self) -> dict[str, object]:
        """For `status`."""
        ledger = self._controller.ledger
        jobs = [job.status() for job in ledger.jobs.values() if job.end is None]
        hosts = {name: {"epoch": ledger.hosts[name].epoch, "address": ledger.hosts[name].address} for name in ledger.hosts.alive()}
        return {
            "leading": self.decides,
            "term": self._term,
            "at": ledger.last_seq,
            "jobs": jobs,
            "n_jobs": len(ledger.jobs),
            "hosts": hosts,
        }


def _subject(decision: Decided) -> str:
    if isinstance(decision, Purge):
        return subjects.purge(decision.job, decision.host)
    return subjects.needed(decision.job) if isinstance(decision, Needed) else subjects.state(decision.job)


def _released(job: JobLedger) -> bool:
    return job.over or job.nothing_kept


async def _nothing() -> None:
    """A request that needs nothing done is done."""
