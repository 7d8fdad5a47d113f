"""The controller as a process: it feeds `state.Controller` with the log, and publishes its decisions.

One controller leads at a time, by a lease whose revision is its term. A leader reads the entries of the log that its last snapshot selects,
and all later ones; without a snapshot, it reads the whole log. When it has caught up, it takes requests, watches the hosts' leases, and
decides. When it loses the lease it stops at once, forgets everything, and stands by again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial

from headrace.bus import Bus, BusSettings, Ends, Entry, Feed, Leader, Record, Role, ensure_data_key, read_value, until_caught_up
from headrace.bus.bus import Consumption
from headrace.bus.later import Later
from headrace.controller.entries import Entries
from headrace.controller.metrics import families, stream_families
from headrace.controller.notes import (
    Note,
    is_news,
    missing,
    note_of_host,
    note_of_loss,
    notes_of_presence,
    refused_sink,
)
from headrace.controller.rejoining import until_back
from headrace.controller.requests import Requests
from headrace.controller.room import Room
from headrace.controller.roomkeeper import RoomKeeper
from headrace.controller.settings import Settings
from headrace.controller.spans import begin_adopted, trace_decisions
from headrace.controller.state import Controller, Decided
from headrace.ledger import JobLedger
from headrace.logs import get_log
from headrace.telemetry import Family
from headrace.telemetry.tracing import now
from headrace.usage import Usage
from headrace_schemas import (
    Ended,
    HostEntry,
    LedgerSnapshot,
    Refused,
    Submitted,
    decoder,
    subjects,
)
from headrace_schemas.streams import HOSTS, REQUESTS

log = get_log(__name__)

NAME = "headrace-controller"
LEASE = "controller"
DURABLE = "controller"
"""The name of the consumer of requests. All controllers share it, and only the leader reads from it."""
FOLLOWED = [*subjects.families("job", "plan", "assign", "event", "purge", "host", "term"), subjects.ALL_COMMITTED]
"""The subjects that the controller reads: all except announcements of outputs held for the client, on which no decision depends."""
_host_entry = decoder(HostEntry)


class ControllerService:
    """Stands by for the lease, and runs one `Leading` per term."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self._bus = bus
        role = Role(
            LEASE, FOLLOWED, own=[], lease_ttl=settings.lease_seconds, retry_delay=None, writes="a decision", rest=settings.rest_seconds
        )
        self._leader: Leader[Leading] = Leader(
            bus, role, lambda term: Leading(bus, settings, self._leader, term), Leading.attend, Leading.on_entries
        )

    async def run(self) -> None:
        """Serve until cancelled. Raises HeadraceError if it cannot go on: the log is full, or of a newer schema."""
        await self._bus.ensure_streams()
        await self._bus.ensure_buckets()
        await ensure_data_key(self._bus)
        await self._bus.serve(NAME, "the life of jobs", {"status": self._leader.status}, self.metrics)
        await self._leader.run()

    def metrics(self) -> Iterator[Family]:
        """Yield whether this controller leads, and the metrics of its term."""
        yield self._leader.leading()
        if self._leader.machine is not None:
            yield from self._leader.machine.metrics()


class Leading:
    """One term of a leading controller: the state machine, with everything that it reads and writes besides the log."""

    def __init__(self, bus: Bus, settings: Settings, leader: Leader[Leading], term: int) -> None:
        self._bus = bus
        self._settings = settings
        self._leader = leader
        self._term = term
        self._controller = Controller(term, settings.limits)
        self._entries = Entries(bus, settings)
        self._registered: dict[str, int] = {}
        self._hosts_lost = 0
        self._looking: list[asyncio.Future[int]] | None = []
        """Publishes of facts about hosts at the beginning of the term; None once all of them are in the log."""
        self._decides_from = 0
        """The sequence up to which the log must be read before the first decision. It covers `TermBegan`, and the first facts about
        hosts."""
        self._later = Later(settings.linger_seconds)
        self._requests = Requests(bus, self._controller.ledger, term, self._later)
        self._looked = 0.0
        self._folded = time.monotonic()
        self._due_timer: asyncio.TimerHandle | None = None
        self._due_at: float | None = None
        self._room = Room(settings.output_expiry_seconds, settings.room)
        self._keeper = RoomKeeper(
            bus, self._room, lambda: list(self._controller.ledger.jobs.values()), self._no_room, lambda: self.last_seq
        )

    @property
    def last_seq(self) -> int:
        """The sequence of the last entry that was folded."""
        return self._controller.ledger.last_seq

    def snapshot(self, service: str) -> LedgerSnapshot | None:
        """Return the part of the log that leads to the same state; None if that cannot be said at present."""
        self._later.flush()  # all decisions must be in the log before a snapshot is stored
        return self._controller.snapshot(service)

    def recognise(self, forgotten: Iterable[str]) -> None:
        """Ignore these jobs if they are submitted again, because they are over."""
        self._controller.recognise(forgotten)

    @asynccontextmanager
    async def attend(self) -> AsyncIterator[Ends]:
        """Begin the term: publish pending decisions, watch hosts, take requests, and look regularly at jobs that are over."""
        await self._entries.load(self._controller.ledger.jobs)
        open_: list[Feed | Consumption] = []
        ticking = asyncio.ensure_future(self._tick())
        keeping = asyncio.ensure_future(self._keeper.run())  # first, since a full log has no room for `TermBegan`
        fencing = asyncio.ensure_future(self._leader.fence(self.last_seq))
        try:
            open_.append(hosts := await self._bus.kv(HOSTS.name).watch(self._on_host))
            await self._look_for_hosts(hosts, fencing)
            self._decide()
            self._check_sinks(self._controller.ledger.jobs.values())
            open_.append(await self._bus.requests(REQUESTS.name, DURABLE, self._requests.on_request))
            log.info("leading", term=self._term, seq=self.last_seq)
            yield hosts.ended, ticking, keeping
        finally:
            self._later.flush()
            ticking.cancel()
            self._stop_pauses()
            keeping.cancel()
            fencing.cancel()
            await asyncio.gather(*(reader.close() for reader in open_), self._entries.close(), fencing, return_exceptions=True)

    # --- the log in, decisions out ----------------------------------------------------------------------------------------

    def fold(self, entries: list[Entry]) -> None:
        """Fold the next entries of the log."""
        self._forget(entries[0].time)  # must come before these entries are folded: the earlier ones have been decided on
        for entry in entries:
            self._controller.fold(entry)
        self._folded = time.monotonic()

    def on_entries(self, entries: list[Entry]) -> None:
        """Decide on the next entries of the log."""
        self.fold(entries)
        if self._bus.tracing is not None:
            begin_adopted(self._bus.tracing, entries)
        self._check_sinks(self._submitted(entries))
        if not self._room.is_open:
            self._turn_away(entries)
        self._decide()
        for lost in self._controller.cut_off():
            self._hosts_lost += 1
            log.warning("other hosts cannot reach a host: its work goes to them", host=lost.host, reason=lost.reason)
            self._publish(Note(lost.subject(), lost, f"lost.{lost.host}.{lost.epoch}"))

    def _decide(self) -> None:
        if self._leader.machine is not self:  # the lease is lost: another controller may decide
            return
        if self.last_seq < self._decides_from:
            return
        at, began = self.last_seq, now()
        decisions = self._controller.decide(at)
        if self._bus.tracing is not None:
            trace_decisions(self._bus.tracing, decisions, began)
        notes = [Note(decision.subject(), decision, f"decided.{self._term}.{at}.{place}") for place, decision in enumerate(decisions)]
        if all(map(self._is_known, decisions)):
            self._later.do(*(partial(self._publish, note) for note in notes))
        else:
            self._later.flush()
            for note in notes:
                self._publish(note)
        for job in self._controller.seen:
            self._entries.changed(job)
        if self._controller.next_due != self._due_at:
            self._await_pauses()

    def _is_known(self, decision: Decided) -> bool:
        """Return whether a decision is the end of a job that every reader of its outputs already knows to be done."""
        return isinstance(decision, Ended) and self._controller.ledger.jobs[decision.job].done_by_values

    def _publish(self, note: Note) -> asyncio.Future[int]:
        stored = self._bus.publish(note.subject, note.message, msg_id=note.msg_id)
        stored.add_done_callback(self._published)
        return stored

    def _published(self, stored: asyncio.Future[int]) -> None:
        """Fail if the log refuses a decision for good: this controller cannot go on."""
        error = None if stored.cancelled() else stored.exception()
        if error is not None and self._leader.machine is self:
            self._leader.fail(error)

    # --- sinks ------------------------------------------------------------------------------------------------------------

    def _submitted(self, entries: list[Entry]) -> list[JobLedger]:
        jobs = self._controller.ledger.jobs
        return [job for entry in entries if type(entry.message) is Submitted and (job := jobs.get(entry.message.job)) is not None]

    def _check_sinks(self, jobs: Iterable[JobLedger]) -> None:
        """Refuse jobs with a sink where no file may be written.

        The refusal is published, because the log does not contain the allowed places. The controller acts on it once it reads it in the
        log.
        """
        for job in list(jobs):
            if job.end is None and not job.problem and not job.refused:
                reason = refused_sink(job, self._settings.allowed)
                if reason:
                    refused = Refused(at=self.last_seq, term=self._term, job=job.job, reason=reason)
                    self._publish(Note(subjects.state(job.job), refused, f"refused.{job.job}"))

    # --- tasks that failed ------------------------------------------------------------------------------------------------

    def _await_pauses(self) -> None:
        """Schedule a look for when the next pause after a failure ends."""
        self._stop_pauses()
        self._due_at = self._controller.next_due
        if self._due_at is not None:
            delay = max(0.0, self._due_at - self._log_time())
            self._due_timer = asyncio.get_running_loop().call_later(delay, self._try_again)

    def _stop_pauses(self) -> None:
        if self._due_timer is not None:
            self._due_timer.cancel()
        self._due_timer = self._due_at = None

    def _log_time(self) -> float:
        """Return the present time by the log's clock, which may differ from the clock of this machine."""
        return self._controller.time + time.monotonic() - self._folded

    def _try_again(self) -> None:
        """Publish which tasks may run again because their pause is over. The controller acts on that once it reads it in the log."""
        if self._leader.machine is self:
            for due in self._controller.due(self._log_time()):
                self._publish(Note(subjects.needed(due.job), due, f"due.{due.job}.{due.at}.{due.tasks[0]}.{due.attempts[0]}"))
            self._await_pauses()

    # --- hosts ------------------------------------------------------------------------------------------------------------

    async def _look_for_hosts(self, hosts: Feed, fencing: asyncio.Future[int]) -> None:
        """Publish which hosts left while no controller watched.

        Nothing is decided until the log with these facts, with the hosts that joined meanwhile and with `TermBegan` has been read, because
        the outputs of a lost host may be gone.
        """
        await until_caught_up(hosts)
        await until_back(lambda: missing(self._controller.ledger.hosts, set(self._registered)), self._settings.rejoin_seconds)
        for host, epoch in missing(self._controller.ledger.hosts, set(self._registered)):
            self._lost_host(host, epoch)
        found, self._looking = self._looking, None
        stored = await asyncio.gather(*found or (), return_exceptions=True)
        self._decides_from = max([await fencing, *(seq for seq in stored if isinstance(seq, int))])

    def _on_host(self, key: str, value: bytes | None, revision: int) -> None:
        if value is None:
            epoch = self._registered.pop(key, None)
            if epoch is not None and not self._is_awaited(key, epoch):
                self._lost_host(key, epoch)
            return
        entry = read_value(_host_entry, HOSTS.name, Record(revision, 0.0, key, value), self._bus.reading)
        if entry is None:
            return
        known = self._registered.get(entry.host)
        self._registered[entry.host] = entry.epoch
        if known != entry.epoch and is_news(entry, self._controller.ledger.hosts):
            self._say_of_host(note_of_host(entry, self.last_seq, self._term))

    def _is_awaited(self, host: str, epoch: int) -> bool:
        """Return whether a host may join again before the term begins. If it does not, `_look_for_hosts` reports it as lost."""
        hosts = self._controller.ledger.hosts
        return self._looking is not None and host in hosts and hosts.counts(host, epoch)

    def _lost_host(self, host: str, epoch: int) -> None:
        self._hosts_lost += 1
        log.warning("a host left or was lost: its work goes to other hosts", host=host)
        self._say_of_host(note_of_loss(host, epoch, self.last_seq, self._term))

    def _say_of_host(self, note: Note) -> None:
        stored = self._publish(note)
        if self._looking is not None:
            self._looking.append(stored)

    # --- room in the log ---------------------------------------------------------------------------------------------------

    def _turn_away(self, entries: list[Entry]) -> None:
        """Refuse the jobs that were just submitted, because the log has no room for them."""
        for entry in entries:
            if isinstance(entry.message, Submitted):
                self._no_room(entry.message.job, self._room.usage, admitted=False)

    def _no_room(self, job: str, usage: Usage, admitted: bool = True) -> None:
        note = self._controller.no_room(job, usage, admitted)
        self._publish(Note(note.subject(), note, f"no_room.{job}"))

    # --- jobs that are over -------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._settings.tick_seconds)
            self._forget(time.time())
            self._release(time.time())
            self._strand(time.monotonic())
            hosts, after = self._controller.ledger.hosts, self._settings.host_told_seconds
            for note in notes_of_presence(hosts, time.time(), after, self.last_seq, self._term):
                self._publish(note)

    def _forget(self, now: float) -> None:
        """Forget jobs that ended long ago and of which no host holds anything. now: the time by the log's clock."""
        if now - self._looked < self._settings.tick_seconds:
            return
        self._looked = now
        for job in list(self._controller.ledger.jobs.values()):
            if job.end is not None and now - job.ended_at > self._settings.forget_seconds and _released(job):
                self._room.forgotten(job)
                self._controller.forget(job.job)
                self._entries.forget_job(job.job)

    def _release(self, now: float) -> None:
        """Release outputs that no client fetched. The release is published like a client's; the controller acts on it once it reads it."""
        for released in self._controller.expired(now, self._settings.output_expiry_seconds):
            self._publish(Note(subjects.state(released.job), released, f"expired.{released.job}"))

    def _strand(self, now: float) -> None:
        """Publish which jobs have tasks that have found no host for a while. The controller acts on that once it reads it in the log."""
        settings = self._settings
        for stranded in [
            *self._controller.stranded(now, settings.host_grace_seconds),
            *self._controller.alone(now, settings.no_hosts_grace_seconds),
        ]:
            self._publish(Note(subjects.state(stranded.job), stranded, f"stranded.{stranded.job}.{stranded.at}"))

    def metrics(self) -> Iterator[Family]:
        """Yield the metrics of this term."""
        yield from families(self._controller.counts, self._controller.ledger, self._hosts_lost, self._requests.refused)
        yield from stream_families(self._keeper.usages)

    def status(self) -> dict[str, object]:
        """Return the answer to a request for this controller's status."""
        ledger = self._controller.ledger
        jobs = [job.status() for job in ledger.jobs.values() if job.end is None]
        hosts = {name: {"epoch": ledger.hosts[name].epoch, "address": ledger.hosts[name].address} for name in ledger.hosts.alive()}
        return {
            "term": self._term,
            "at": self.last_seq,
            "impossible": ledger.impossible,
            "jobs": jobs,
            "n_jobs": len(ledger.jobs),
            "hosts": hosts,
            "requests_refused": dict(self._requests.refused),
            "streams": {name: {"bytes": usage.bytes, "limit": usage.limit} for name, usage in self._keeper.usages.items()},
            "log_share": self._room.usage.share,
            "admits": self._room.is_open,
        }


def _released(job: JobLedger) -> bool:
    return job.over or job.nothing_kept


async def run(settings: Settings, bus_settings: BusSettings) -> None:
    """Connect and serve until cancelled."""
    async with await Bus.connect(bus_settings, NAME) as bus:
        await ControllerService(settings, bus).run()
