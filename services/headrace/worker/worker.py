"""The service of a host: it connects the agent's state machine to the bus, to its runners and to other hosts, epoch after epoch."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterator
from itertools import chain

import msgspec

from headrace.bus import NEW, Bus, Entry, LogFeed, ensure_data_key
from headrace.errors import NatsUnreachable, SettingsError
from headrace.link.addresses import split_address
from headrace.logs import get_log
from headrace.runner import protocol
from headrace.runner.status import StatusPage
from headrace.telemetry import Family, labelled
from headrace.worker.addresses import advertised
from headrace.worker.agent import events, metrics, rejoining
from headrace.worker.agent.failures import MemoryShortage
from headrace.worker.agent.guard import MachineBroken
from headrace.worker.agent.recording import RecordedAgent
from headrace.worker.agent.rejoining import still_true
from headrace.worker.agent.spans import Spans
from headrace.worker.exile import Exile, addresses_of, until_reached
from headrace.worker.links import Links
from headrace.worker.membership import latest_terms, register
from headrace.worker.performing import Memory, Performer
from headrace.worker.record_file import make_agent
from headrace.worker.runners import Death, Runners
from headrace.worker.settings import NO_SPILLING, Settings
from headrace.worker.zygote import Zygote
from headrace_schemas import Events, HostEntry, streams, subjects
from headrace_shm import Arena, Store

log = get_log(__name__)

LOOK_SLACK_SECONDS = 0.001
"""Seconds by which a scheduled look is delayed, because timers are exact only to a millisecond."""


class Worker:
    """A host. `run` serves in one epoch, `rejoin` begins the next one with the datasets that the host holds. `close` at the end."""

    def __init__(self, settings: Settings, bus: Bus, arena: Arena, status: StatusPage, zygote: Zygote, epoch: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._bus = bus
        self._arena = arena
        self._page = status
        self._store: Store[int] = Store(arena.address_space // settings.address_space_factor, arena.address_space)
        self._agent = make_agent(settings, epoch, self._store, settings.spill_dir != NO_SPILLING, self._loop.time())
        self._memory = Memory(arena, self._agent)
        self._zygote = zygote
        self._runners = Runners(zygote, status, settings, self._on_frames, self._on_death)
        self._links: Links
        self._performer: Performer | None = None
        self._feed: LogFeed | None = None
        """Stays open from epoch to epoch, so that the host also reads the ends of jobs and the purges between epochs."""
        self._kept_facts: list[Events] = []
        """Facts of earlier epochs that the log may lack."""
        self._spans = Spans(bus.tracing, settings.runners, self._agent.known.called) if bus.tracing is not None else None
        self._expelled = asyncio.Event()
        """Set when the log says that this host is lost although it has its lease."""
        self._exile = Exile(settings)
        self._broken: asyncio.Future[None] = self._loop.create_future()
        """Gets the exception MachineBroken once the state machine has raised too many exceptions in a row."""
        self._pumping = self._ended = False
        self._report_timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._last_report = self._report_due = 0.0
        self._above = self._rejoins = False

    async def run(self) -> None:
        """Serve until cancelled, until this host cannot go on, or until its lease is lost. Then end all runners and links."""
        self._links = Links(self._agent, self._arena, await ensure_data_key(self._bus), self._wake, self._bus.tracing)
        if self._performer is None:
            parts = self._agent, self._runners, self._links, self._page, self._memory
            self._performer = Performer(*parts, self._settings.spill_dir, self._publish, self._wake, self._spans)
        else:
            self._performer.begin_again(self._runners, self._links)
        self._agent.handle(events.AddressKnown(advertised(self._settings.advertise, await self._listen())))
        work: list[asyncio.Future[None]] = []
        try:
            await self._runners.start(self._on_started)
            if self._feed is None:
                self._feed = await LogFeed.open(
                    self._bus, subjects.for_host(self._settings.host), self._on_entries, from_seq=NEW, whole=True
                )
            work += [asyncio.ensure_future(self._tick()), asyncio.ensure_future(self._belong())]
            ends = (self._feed.ended, self._broken, *work, self._runners.failed)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for ended in ends:
                if ended.done():
                    ended.result()
        finally:
            await self._stop(work)

    def keep_facts(self) -> None:
        """Keep the facts that the log may lack, to report them under the next epoch."""
        unanswered = self._performer.forget_reports() if self._performer is not None else []
        self._kept_facts += [*unanswered, *self._agent.all_reports()]

    async def log_rewound(self) -> None:
        """Forget the jobs that the log lost with its last messages. Keeps trying while NATS does not answer."""
        self._feed = None
        submitted = [(job, subjects.submitted(job)) for job in self._agent.jobs]
        self._agent.handle(events.LogRewound([job for job, subject in submitted if await self._is_gone(subject)]))

    async def _is_gone(self, subject: str) -> bool:
        while True:
            try:
                return await self._bus.last(streams.LOG.name, subject) is None
            except NatsUnreachable as error:
                log.warning("NATS does not answer: this host keeps trying to join again", error=error)
                await asyncio.sleep(self._settings.rejoin_seconds)

    def rejoin(self, epoch: int) -> None:
        """Begin another epoch, with the datasets that are here."""
        self._agent.handle(events.Clock(self._loop.time()))
        self._agent.handle(events.Rejoined(epoch))
        self._rejoins = True
        self._runners = Runners(self._zygote, self._page, self._settings, self._on_frames, self._on_death)
        self._ended = False
        self._expelled.clear()
        self._wake()

    async def _bring_back(self) -> None:
        """Report what this host held before it lost its lease. The log must have that before the host joins again."""
        jobs, epoch = self._agent.jobs, self._agent.known.epoch
        again = [told for facts in self._kept_facts if (told := still_true(facts, jobs.get(facts.job), epoch)) is not None]
        held = [*rejoining.held(jobs.values(), self._settings.host, epoch), *again]
        stored = [self._bus.publish(subjects.event(facts.job, facts.host), facts) for facts in held]
        for facts, error in zip(held, await asyncio.gather(*stored, return_exceptions=True), strict=True):
            if isinstance(error, BaseException):
                log.error("the log did not take the datasets that this host still holds: they are made again", job=facts.job, error=error)

    async def _belong(self) -> None:
        """Register this host until its lease is lost, or until the log says that the host is lost.

        At the end, give the lease back unless it was lost.
        """
        await until_reached(self._exile, self._peers)
        await self._bring_back()
        self._agent.handle(events.LogRead(await latest_terms(self._bus)))
        entry = HostEntry(
            host=self._settings.host,
            epoch=self._agent.known.epoch,
            address=self._agent.address,
            runners=self._settings.runners,
            capacity=self._agent.memory.shortage.full_capacity,
            pid=os.getpid(),
            resources=self._settings.resources,
            memory=self._settings.memory(),
            rejoins=self._rejoins,
        )
        lease = await register(self._bus, self._settings, entry)
        self._kept_facts.clear()
        self._exile.joined(self._loop.time())
        ends = [asyncio.ensure_future(each.wait()) for each in (lease.lost, self._expelled)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ends:
                each.cancel()
            await lease.release()

    async def _peers(self) -> list[tuple[str, int]]:
        """Return the addresses of the other registered hosts."""
        entries = await self._bus.kv(streams.HOSTS.name).entries()
        return addresses_of(self._settings.host, [found.value for found in entries.values()])

    async def _listen(self) -> tuple[str, int]:
        host, port = split_address(self._settings.listen)
        try:
            return await self._links.listen(host, port)
        except OSError as error:
            raise SettingsError(
                f"this host cannot listen on {self._settings.listen}: {error}. Set HEADRACE_LISTEN (--listen) to an address of this machine"
            ) from error

    async def _stop(self, work: list[asyncio.Future[None]]) -> None:
        """End the runners and links of this epoch."""
        self._ended = True
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        if self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None
        await self._links.close()
        await self._runners.close()

    async def close(self) -> None:
        """Close everything, and release the arena's memory last, when no process can write to it."""
        if self._feed is not None:
            await self._feed.close()
        if self._performer is not None:
            self._performer.close()
        if isinstance(self._agent, RecordedAgent):
            self._agent.close()
        self._arena.release_pages(0, self._arena.address_space)

    # --- events in --------------------------------------------------------------------------------------------------

    def _on_entries(self, entries: list[Entry]) -> None:
        self._wake()
        self._agent.handle(events.LogRead([entry.message for entry in entries]))
        if self._agent.assignments.expelled and not self._expelled.is_set():
            log.error(
                "the other hosts cannot reach this one, which joins again once it reaches one of them. If this goes on, give it an address "
                "that they can reach (--listen, --advertise)",
                address=self._agent.address,
            )
            self._exile.lost(self._loop.time())
            self._expelled.set()
        if self._spans is not None:
            self._spans.hear(entry.message for entry in entries)

    def _on_frames(self, slot: int, frames: list[protocol.ToAgent]) -> None:
        self._wake()
        if self._spans is not None:
            self._spans.sent(slot, frames)
        self._agent.handle(events.RunnerSent(slot, frames))

    def _on_started(self, slot: int) -> None:
        self._agent.handle(events.RunnerStarted(slot))
        self._wake()

    def _on_death(self, slot: int, task: tuple[int, int] | None, death: Death) -> None:
        executing = self._agent.known.called(*task) if task is not None else {}
        why = {"error": "the kernel killed it because memory ran out"} if death.out_of_memory else {}
        log.warning("a runner ended", runner=slot, pid=death.pid, status=death.code, peak=death.peak, **why, **executing)
        shortage = MemoryShortage(death.peak, self._settings.memory()) if death.out_of_memory else None
        self._agent.handle(events.RunnerDied(slot, task, death.code, death.pid, shortage))
        self._wake()

    async def _tick(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(self._settings.tick_seconds)
            count += 1
            executing = self._runners.executing()
            self._agent.handle(events.Executing(executing))
            self._agent.handle(events.Tick(self._loop.time(), executing))
            guard = self._agent.guard
            if guard.broken and not self._broken.done():
                self._broken.set_exception(MachineBroken(f"numbers of events that raised exceptions: {dict(guard.failures)}"))
            if count % self._settings.link_retry_ticks == 0:
                self._agent.handle(events.LinksDue())
                self._look_at_memory()
                self._runners.oom_kills.look(self._loop.time())
            self._pump()

    def _look_at_memory(self) -> None:
        """Warn if the store is above its capacity, and release memory that it no longer needs."""
        store = self._store
        above = store.used > store.capacity
        if above and not self._above:
            log.warning("the store is above its capacity, because no task could go on otherwise", used=store.used, capacity=store.capacity)
        self._above = above
        if store.backed > store.capacity + store.capacity // 5:
            self._memory.give_back(store.capacity)

    # --- decisions out ----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Decide once, after all events of this turn of the event loop, which count as happening now."""
        if not self._pumping:
            self._pumping = True
            self._agent.handle(events.Clock(self._loop.time()))
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self._ended:
            return
        if self._performer is not None and (actions := self._agent.take()):
            self._performer.perform(actions)
        if self._runners.unsent:
            self._runners.flush()
        if self._agent.reporting.news:
            self._schedule_report()
        if self._look_timer is None and self._agent.runners.queued:
            self._schedule_look()
        if self._agent.assignments.assigned is not None:
            self._go_on()

    def _schedule_look(self) -> None:
        """Decide again at the time that the state machine asks for, even if no event comes before. A look that comes early does no harm."""
        due = self._agent.look_at
        if due < math.inf:
            self._look_timer = self._loop.call_at(due + LOOK_SLACK_SECONDS, self._look)

    def _look(self) -> None:
        self._look_timer = None
        self._wake()

    def _go_on(self) -> None:
        """Take in more of an assignment, after the runners were sent the tasks that are known so far."""
        self._agent.handle(events.AssignmentResumed())
        self._wake()

    def _schedule_report(self) -> None:
        """Publish the facts at once if the last ones were published long enough ago; otherwise, together with those that follow soon."""
        wait = self._agent.reporting.seconds
        due = self._last_report + wait
        if self._report_timer is not None:
            if self._report_due <= due:
                return
            self._report_timer.cancel()
        self._report_due = due
        if wait == self._settings.report_seconds and due <= self._loop.time():
            self._report()
        else:
            self._report_timer = self._loop.call_at(max(due, self._loop.time()), self._report)

    def _report(self) -> None:
        self._report_timer = None
        self._last_report = self._loop.time()
        if self._performer is not None and (actions := self._agent.reports_due()):
            self._performer.perform(actions)
        if self._agent.reporting.news:
            self._schedule_report()

    def _publish(self, facts: Events) -> asyncio.Future[int]:
        return self._bus.publish(subjects.event(facts.job, facts.host), facts)

    async def status(self, _: bytes) -> bytes:
        """Answer a request for this host's status."""
        return msgspec.json.encode(
            {
                "host": self._settings.host,
                "metrics": self._bus.metrics_address,
                **self._bus.reading.status(),
                "epoch": self._agent.known.epoch,
                "runners": self._runners.pids(),
                "jobs": sorted(self._agent.jobs),
                "impossible": self._agent.assignments.impossible,
                "store": {"used": self._store.used, "capacity": self._store.capacity, "high_water": self._store.high_water},
                "spilled": self._agent.memory.disk.spilled_bytes,
                "trouble": self._agent.trouble(),
                "waiting": self._agent.waits(self._runners.executing()),
            }
        )

    def metrics(self) -> Iterator[Family]:
        """Return the metrics of this host."""
        agent, links = self._agent, self._links
        parts = (
            metrics.task_families(agent.counts),
            metrics.store_families(agent.memory, agent.counts.overcommits),
            metrics.traffic_families(links.traffic, links.open_links(), links.refused()),
            metrics.error_families(self._agent.guard.failures),
            metrics.runner_families(
                agent.runners.slots, self._runners.deaths, sum(job.n_live for job in agent.jobs.values()), len(agent.watchdog.overdue)
            ),
        )
        return labelled(chain.from_iterable(parts), host=self._settings.host)
