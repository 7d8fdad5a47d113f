"""The agent of a host as a pure state machine: events go in, decisions come out, and nothing else happens.

`Agent.handle` is the only entrance. It takes an event (see `events`), and `handlers` passes it to the part of the agent that it concerns:
`assignments` (the log), `execution` (runners), `fetching` and `peers` (links). Decisions are the actions that `take` returns afterwards,
and the facts that `reports_due` returns. The time comes with events.

A segment is ready once all its inputs are here. It runs when a runner has room, in plan order. So the tasks of a window wait for no
service, only for datasets of other hosts, and the agent asks for these when their consumers are assigned, not when the consumers are about
to run.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from headrace.graph.naming import task_name
from headrace.worker.agent.actions import (
    Action,
    Nudge,
    Restore,
    SendBlock,
    SendSpilled,
    Spill,
    Unspill,
    Warn,
)
from headrace.worker.agent.assignments import Assignments
from headrace.worker.agent.chains import Chains
from headrace.worker.agent.datasets import Datasets
from headrace.worker.agent.dispatch import Dispatcher
from headrace.worker.agent.events import Event
from headrace.worker.agent.execution import Execution
from headrace.worker.agent.fetching import Fetching
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.guard import Caught, Guard
from headrace.worker.agent.handlers import HANDLERS, job_of
from headrace.worker.agent.intake import Intake
from headrace.worker.agent.jobs import Entry, Segment
from headrace.worker.agent.known import KnownJobs
from headrace.worker.agent.memory import Claim, Memory
from headrace.worker.agent.metrics import Counts
from headrace.worker.agent.peers import Peers
from headrace.worker.agent.report import JobReport
from headrace.worker.agent.reporting import Reporting
from headrace.worker.agent.serving import Serving
from headrace.worker.agent.spilling import Spilling
from headrace.worker.agent.watchdog import Watchdog, waits_of
from headrace.worker.settings import Settings
from headrace_schemas import Events
from headrace_shm import Store

DECIDING = "deciding"
"""The name of `take` and `reports_due` in the guard's counts of failures."""
MOST_STALLS = 10
"""During a stall, each tick grants memory above the capacity to twice as many results as the last one, up to 2 ** MOST_STALLS."""
MOST_SHOWN = 20
"""The number of segments that `waits` returns."""


class Agent:
    """The state and the decisions of a host. counts: what happened so far, for metrics.

    now: the time at which the agent is made, by the clock of the events. guarded: whether `guard` catches the machine's exceptions; tests
    let them pass.
    """

    def __init__(
        self, settings: Settings, epoch: int, store: Store[int], spills: bool = False, now: float = 0.0, *, guarded: bool = False
    ) -> None:
        self.settings = settings
        self.host = settings.host
        self.counts = Counts()
        self.known = KnownJobs(epoch, settings.over_remembered)
        self.jobs = self.known.by_name
        self._actions: list[Action] = []
        self.serving = Serving(store, self._actions, settings)
        self.grants = Grants(store, self.serving)
        self.memory = Memory(store, self._actions, Spilling(store, self._actions, spills, settings), self.grants, settings)
        self.datasets = Datasets(self.memory, self.serving, settings)
        self.runners = Dispatcher(settings, self.datasets.prepare, self.datasets.may_park, lambda: not self.memory.disk.empty)
        self.chains = Chains(self.known, self.datasets, self.runners, self.counts, self._actions)
        self.fetching = Fetching(
            self.jobs, self.datasets, self.memory, self._actions, settings, now, self.runners.ready, self.chains.fail_waiters
        )
        self.sources = self.fetching.sources
        self.peers = Peers(self.jobs, self.known.over, self.serving, self.grants, self._actions)
        self.reporting = Reporting(self.jobs, self.memory, self.runners.slots, settings)
        self.execution = Execution(self.known, self.chains, self.datasets, self.memory, self.runners, self._actions, settings)
        self.assignments = Assignments(
            self.known,
            self.chains,
            self.datasets,
            self.grants,
            self.runners,
            self.sources,
            self.peers,
            self.reporting.news,
            self.counts,
            self._actions,
            settings,
        )
        self.guard = Guard(self.assignments.fail_job, settings.failures_in_a_row, raises=not guarded)
        self.intake = Intake(self.assignments, self.guard)
        self.clock(now)
        self._stalled_since: tuple[int, float] = (0, now)
        self._stalls = 0
        self.watchdog = Watchdog(settings.stuck_seconds)

    @property
    def address(self) -> str:
        """Where other hosts reach this one; until it is known, this host is no relay."""
        return self.sources.address

    # --- events ---------------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Handle an event. `take` then returns the actions that follow.

        Raises ValueError if a runner or another host sent something that is not allowed. If the machine fails, `guard` handles the
        exception, and `Caught` is raised if the service must end the sender, see `Base.raises`.
        """
        try:
            HANDLERS[type(event)](self, event)
        except Exception as error:
            if self._may_pass(event, error):
                raise
            self.guard.caught(event.kind, error, job_of(self, event), event)
            if event.raises:
                raise Caught(error) from error
        else:
            if self.guard.in_a_row:
                self.guard.succeeded(event.kind)

    @staticmethod
    def _may_pass(event: Event, error: Exception) -> bool:
        """Return whether an exception goes to the caller unchanged: the sender caused it, or the guard has caught it already."""
        return isinstance(error, Caught) or (event.raises and isinstance(error, ValueError))

    # --- epochs and time ------------------------------------------------------------------------------------------------

    def rejoin(self, epoch: int) -> None:
        """Begin a new epoch, because the cluster took this host for lost. It keeps its datasets, but its assignments are void.

        Must be called after its runners and links have ended, and after `all_reports`: later facts of the old epoch are dropped.
        """
        self.known.epoch = epoch
        self.assignments.begin_again()
        for action in list(self._actions):
            if isinstance(action, SendBlock | SendSpilled):
                self.peers.sent(action.peer, action.frame, action.nbytes, action.block if isinstance(action, SendBlock) else 0)
        entries = [entry for job in self.jobs.values() for entry in job.entries.values()]
        for runner in self.runners.slots:
            self.grants.runner_died(runner, entries)
            self.memory.drop_claims(runner.slot)
            self.runners.runner_died(runner.slot)
        for job in list(self.jobs.values()):
            for chain in job.live_chains():
                self.chains.drop(chain)
            job.begin_again(JobReport(job.name, self.host, epoch, self.reporting.news))
            self.datasets.begin_again(job)
            if job.ended and not job.entries:
                self.assignments.forget(job)
        self.memory.forget_claims()
        self.sources.begin_again()
        self.reporting.begin_again()
        self.execution.begin_again()
        self._actions[:] = [action for action in self._actions if isinstance(action, Spill | Restore | Unspill)]

    def clock(self, now: float) -> None:
        """Take in the time, by the clock of the events."""
        self.runners.now = now
        self.memory.clock(now)

    @property
    def look_at(self) -> float:
        """The time at which `take` must be called even if no event comes before; infinity if there is none."""
        return self.runners.next_look()

    # --- the disk ---------------------------------------------------------------------------------------------------

    def spilled(self, key: str, ok: bool, trouble: str = "") -> None:
        """Note that a dataset was written to disk, or that the write failed. trouble: why it failed."""
        self.datasets.spilled(key, ok, trouble)

    def unread(self, key: str, memory: int) -> None:
        """Let a dataset stay on disk, because shared memory is full. memory: the bytes that the arena has."""
        held = self.memory.disk.found(key)
        self.memory.unbacked(held[1] if held is not None else Entry(-1), memory, read=key)

    def restored(self, key: str, ok: bool) -> None:
        """Note that a dataset was read from disk into the arena, or that the read failed."""
        self.runners.ready(self.datasets.restored(key, ok))

    def unreadable(self, key: str) -> None:
        """Give up a dataset on disk, because a part that was to be sent cannot be read."""
        self.datasets.unreadable(key)

    # --- time ---------------------------------------------------------------------------------------------------

    def tick(self, now: float, executing: Sequence[tuple[int, int] | None]) -> None:
        """Do what depends on the time. now: seconds of a monotonic clock. executing: the status page, an entry for each slot."""
        self.clock(now)
        self.sources.tick(now)
        self._watch_for_stall(now)
        self._watch(now, executing)
        self._try_again_at_tick()
        for runner in self.runners.slots:
            self.execution.close_quietly(runner)
        if self.known.doomed:
            self.execution.end_doomed(now, executing)

    def _watch(self, now: float, executing: Sequence[tuple[int, int] | None]) -> None:
        """Warn about segments that wait for something that should have come."""
        if not self.watchdog.is_due(now):
            return
        for overdue in self.watchdog.look(now, waits_of(self, executing)):
            self._actions.append(Warn(str(overdue)))
            if overdue.lost >= 0:
                self.jobs[overdue.job].report.gone(overdue.lost)

    def waits(self, executing: Sequence[tuple[int, int] | None]) -> list[dict[str, str]]:
        """Return what the earliest segments wait for, in words. executing: as in `tick`."""
        found = itertools.islice(waits_of(self, executing), MOST_SHOWN)
        return [{"job": job.name, "task": task_name(job.spec, each.tasks[0]), "waits_for": wait.text} for job, each, wait in found]

    def _watch_for_stall(self, now: float) -> None:
        """Grant memory above the capacity if nothing is at work that could free memory: first to one result, then to more at every tick."""
        if self.memory.first_claim is None:
            self._stalls = 0
        if self.memory.first_claim is None or self._at_work() or (not self._stalls and self.grants.progress != self._stalled_since[0]):
            self._stalled_since = (self.grants.progress, now)
        elif self._stalls or now - self._stalled_since[1] > self.settings.stall_seconds:
            granted = self.memory.overcommit(1 if self.memory.disk.enabled else 1 << self._stalls)
            self.counts.overcommits += len(granted)
            self._undefer(granted)
            self._stalls = min(self._stalls + 1, MOST_STALLS)
            self._stalled_since = (self.grants.progress, now)

    def _at_work(self) -> bool:
        return any(runner.busy for runner in self.runners.slots) or self.grants.transfers > 0 or self.memory.disk.busy

    def _undefer(self, claims: list[Claim]) -> None:
        for claim in claims:
            if claim.who.slot >= 0:
                self.runners.slots[claim.who.slot].deferred.discard(claim.who.segment)

    def _allowed(self, segment: Segment) -> bool:
        """Return whether a segment may start while memory is short: it frees memory, or it is the earliest one."""
        if any(entry.block is not None or entry.spill_key for entry in segment.entries):
            return True
        first = self.memory.first_claim
        return segment.chain.order <= first if first is not None else not any(runner.busy for runner in self.runners.slots)

    # --- decisions --------------------------------------------------------------------------------------------------------

    def take(self) -> list[Action]:
        """Return the actions that follow from the events so far, except reports. None follow if the machine fails, see `guard`."""
        try:
            actions = self._follow()
        except Exception as error:
            return self._undecided(error)
        if self.guard.in_a_row:
            self.guard.succeeded(DECIDING)
        return actions

    def reports_due(self) -> list[Action]:
        """Return the facts to publish now, see `Reporting.due`. There are none if the machine fails, see `guard`."""
        try:
            actions = self.reporting.due()
        except Exception as error:
            return self._undecided(error)
        if self.guard.in_a_row:
            self.guard.succeeded(DECIDING)
        return actions

    def all_reports(self) -> list[Events]:
        """Return all facts that were not published, whether they are due or not."""
        return self.reporting.everything(self._actions)

    def _undecided(self, error: Exception) -> list[Action]:
        """Pass an exception to the guard, and decide nothing. Must be called from the `except` block."""
        self.guard.caught(DECIDING, error)
        return []

    def _follow(self) -> list[Action]:
        if granted := self.memory.settle():
            self._undefer(granted)
        if self.memory.refused:
            self._fail_refused()
        if self.runners.has_ready:
            self.runners.fill(self._allowed if self.memory.pressed else None)
        if self.runners.queued:
            self._actions.extend(Nudge(runner.slot) for runner in self.runners.overdue())
            for runner in self.runners.to_recall():
                self.chains.recall(runner)
        if self.runners.batched:
            self.execution.send_batches()
        if self.serving.outgoing.parcels:
            self.serving.outgoing.send()
        if self.sources.asks:
            self._actions.extend(self.sources.wants())
        actions, self._actions[:] = list(self._actions), ()
        return actions

    def _fail_refused(self) -> None:
        refused, self.memory.refused = self.memory.refused, []
        for claim in refused:
            entry = claim.job.entries.get(claim.dataset)
            if entry is not None:
                what = f"on host {self.host}, an input of {claim.nbytes:,} bytes"
                self.chains.fail_waiters(claim.job, entry, "too_large", self.memory.shortage.in_words(what, claim.nbytes))

    def trouble(self) -> list[str]:
        """Return what does not work on this host at present, in words."""
        return [*self.memory.trouble(), *self.watchdog.in_words()]

    def act(self, action: Action) -> None:
        """Add an action."""
        self._actions.append(action)

    def _try_again_at_tick(self) -> None:
        self._actions += self.execution.kills_at_tick()
        self._actions += self.reporting.at_tick()
