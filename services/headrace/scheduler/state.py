"""The scheduler's decisions, as a pure state machine: entries of the log in; plans, assignments, reroutes and revocations out.

A decision is folded into the ledger when it is made, and not again when it comes back in the log.

| event | what the scheduler does |
|---|---|
| a job was submitted | admits it when it may be open (see `admission`) and the living hosts can run all of its tasks; plans it; releases
  the first windows |
| a job of one task was submitted | assigns it without a plan |
| tasks are done | refills windows that are half empty |
| tasks are needed again, or were given back | places each on its old host, or near its inputs; reroutes the hosts that wait for them |
| a suspect is needed again (see `suspects`) | places it to run alone, and other work on other hosts meanwhile |
| a host was lost | moves its unreleased chains to other hosts; reroutes hosts that fetch from it to other copies |
| all runners of a host execute long tasks, and other hosts are idle | asks for waiting tasks back, and places them anew |
| a host would finish late, and other hosts are idle (see `levelling`) | asks for part of its waiting tasks back, and places them anew |
| a host joined | plans jobs that waited for it; moves a share of the unreleased chains to it |
| a job ended | forgets it, once its outputs are released |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from headrace.ledger import WAITING, HostRecord, JobLedger, Ledger, LogEntry, runs_alone
from headrace.ledger.columns import ints
from headrace.ledger.machine import LedgerMachine
from headrace.scheduler import recovery, suspects
from headrace.scheduler.admission import Admission
from headrace.scheduler.backlog import Backlog, Release
from headrace.scheduler.fitting import Demand
from headrace.scheduler.job import JobSchedule
from headrace.scheduler.living_hosts import LivingHosts
from headrace.scheduler.messages import Stamp, Target, assign_message, graph_source, plan_messages, reroute_messages
from headrace.scheduler.moving import Moving
from headrace.scheduler.relief import Back
from headrace.scheduler.running import Running
from headrace.scheduler.settings import Settings
from headrace.scheduler.speeds import Speeds
from headrace.scheduler.suspects import Suspects
from headrace.scheduler.wave_plan import Costs, plan
from headrace_schemas import Assign, Events, HostJoined, HostLost, Plan, Reroute, Revoke

Decided = Plan | Assign | Reroute | Revoke
DECIDED = (Plan, Assign, Reroute, Revoke)
"""The types of the scheduler's decisions."""


class Scheduler(LedgerMachine):
    """The state machine of the scheduler in one term.

    schedules: the planned jobs that go on. single: the host of each job of one task, or "" once the task is done. Such a job has no
    schedule while its first attempt is its only one. load: for each host, the tasks that are placed there and not done. costs: of tasks,
    for the planner. running: the tasks that hosts report to execute. now: seconds, by the clock of `tick`.
    """

    def __init__(self, settings: Settings, term: int, costs: Costs | None = None) -> None:
        self.settings = settings
        self.term = term
        self.costs = costs or Costs()
        self.ledger = Ledger()
        self.schedules: dict[str, JobSchedule] = {}
        self.single: dict[str, str] = {}
        self.load: Counter[str] = Counter()
        self.running = Running(settings.long_seconds)
        self.speeds = Speeds(settings.known_functions)
        self.now = 0.0
        self._moving = Moving(settings, self.ledger, self.schedules, self.single, self.load, self.running, self.speeds)
        self._suspects = Suspects()
        self._living = self._living_among({})
        self._hosts_changed = False
        self._admission = Admission(settings)
        self._unschedulable: dict[str, JobLedger] = {}
        """Admitted jobs with tasks that no living host can run."""

    # --- events -----------------------------------------------------------------------------------------------------------

    def fold(self, entries: Iterable[LogEntry]) -> None:
        """Fold entries of the log. This scheduler's own decisions were folded when they were made."""
        for entry in entries:
            message = entry.message
            if isinstance(message, DECIDED) and message.term == self.term:
                self.ledger.read_back(entry.seq, entry.time, message)
            else:
                fold = _FOLDS.get(type(message))
                self.ledger.fold(entry) if fold is None else fold(self, entry, message)

    def _fold_events(self, entry: LogEntry, events: Events) -> None:
        self.ledger.fold(entry)
        if events.started:
            self.running.started(events, self.now)
        schedule = self.schedules.get(events.job)
        if schedule is None:
            return
        if events.profile and not events.rejoining and len(self._living.names) > 1:
            self.speeds.learn(schedule.job, events)
        if events.gone:
            schedule.moved.update(d for d in events.gone if 0 <= d < schedule.job.topology.n_datasets)

    def _fold_host(self, entry: LogEntry, message: HostJoined | HostLost) -> None:
        """Note the datasets whose home may change: those that a lost host held, and those that a host brings when it rejoins."""
        self._hosts_changed = True
        self._move_copies(message.host)
        self.ledger.fold(entry)
        if isinstance(message, HostJoined):
            self._move_copies(message.host)
            if not message.rejoins and not message.again:
                self.speeds.forget_host(message.host)

    def _move_copies(self, host: str) -> None:
        for schedule in self.schedules.values():
            schedule.moved.update(recovery.held_at(schedule.job, host).tolist())

    # --- decisions --------------------------------------------------------------------------------------------------------

    def decide(self) -> list[Decided]:
        """Return all new decisions that follow from the folded entries, in the order in which to publish them."""
        stamp = Stamp(self.ledger.last_seq, self.term)
        out: list[Decided] = []
        joined: set[str] = set()
        changed = self.ledger.take_changed()
        if len(changed) > 1:
            changed.sort(key=attrgetter("submitted"))  # jobs are admitted in the order of submission
        due = {job.job for job in changed if self._look_at(job)}
        if self._suspects.hosts:
            self._suspects.drop_ended(self.ledger.jobs)
        if self._hosts_changed:
            before, self._living = self._living, self._living_among(self.ledger.hosts)
            joined, self._hosts_changed = self._living.joined_since(before), False
            due.update(self.schedules)
            if self._living.names:  # a host may have joined that can run one of these
                due.update(job.job for job in list(self._unschedulable.values()) if self._plan(job, stamp, out))
        if self._moving.is_due():
            due.update(self._move_work(stamp, out))
        if self._admission.has_any:
            due.update(self._admit(stamp, out))
        for name in sorted(due):
            self._advance(self.schedules[name], joined, stamp, out)
        self._moving.update_idle()
        return out

    def window(self) -> dict[str, int]:
        """Count, for each living host, the tasks that are released to it and not done."""
        found = Counter(host for host in self.single.values() if host)
        for schedule in self.schedules.values():
            for index, tasks in schedule.open.items():
                found[schedule.job.hosts[index]] += tasks
        return {host: found[host] for host in self.ledger.hosts.alive()}

    @property
    def n_unplanned(self) -> int:
        """The number of jobs that wait for a host that can run them."""
        return len(self._unschedulable) + (0 if self._living.names else len(self._admission))

    @property
    def n_queued(self) -> int:
        """The number of jobs that wait until earlier ones are done."""
        return len(self._admission) if self._living.names else 0

    def status(self) -> dict[str, object]:
        """Summarise for people the planned jobs, the waiting jobs, and the load of each host."""
        jobs = {name: schedule.status() for name, schedule in self.schedules.items()}
        jobs |= {name: {"open": {host: 1} if host else {}, "queued": {}, "unplaced": 0} for name, host in self.single.items()}
        waiting = [*sorted(self._unschedulable), *self._admission.names]
        of_log = {"term": self.term, "at": self.ledger.last_seq, "impossible": self.ledger.impossible}
        return {**of_log, "waiting": waiting, "jobs": jobs, "load": dict(self.load)}

    def tick(self, now: float) -> None:
        """Advance the clock: jobs may be admitted, and tasks may have run for long. now: seconds, by any monotonic clock.

        Call it before each batch of entries, and at intervals while jobs wait or tasks run.
        """
        self.now = now
        self._admission.tick(now)
        if self.running.since:
            self.running.drop_ended(self.ledger, now)
        self._moving.tick(now)

    def _admit(self, stamp: Stamp, out: list[Decided]) -> Iterator[str]:
        """Plan the jobs that may be open. Yields those of which chains can be released."""
        living = self._living
        while living.names and (job := self._admission.next(living.runners, idle=living.is_idle)) is not None:
            if self._plan(job, stamp, out):
                yield job.job

    def _look_at(self, job: JobLedger) -> bool:
        """Update the schedule of a job that changed. Returns whether it may have tasks to release or to place."""
        schedule = self.schedules.get(job.job)
        if job.problem or (job.end is not None and not job.reopened):
            self._forget(job)
            return False
        if job.n_done == job.n_tasks:
            self._admission.leave(job.job)
        if schedule is not None:
            schedule.follow()
        elif job.job in self.single and job.states[0] != WAITING:
            if job.n_done:
                self._relieve(job.job)
            return False
        elif job.planned:
            self._forget_single(job.job)
            self._open(job).say_all_sources()
        elif job.cancel_asked is not None:
            self._drop_unplanned(job.job)
        elif job.job not in self._unschedulable:
            self._admission.arrive(job)
        return job.job in self.schedules

    def _forget(self, job: JobLedger) -> None:
        schedule = self.schedules.pop(job.job, None)
        self.speeds.forget_job(job.job)
        self._moving.forget_job(job.job)
        if schedule is not None:
            schedule.close()
        self._forget_single(job.job)
        self._drop_unplanned(job.job)
        if job.end is not None and (job.over or job.nothing_kept):  # otherwise lost outputs may have to be computed again
            self.ledger.forget_job(job.job)

    def _drop_unplanned(self, job: str) -> None:
        self._admission.leave(job)
        self._unschedulable.pop(job, None)

    def _forget_single(self, job: str) -> None:
        self._relieve(job)
        self.single.pop(job, None)

    def _relieve(self, job: str) -> None:
        """Take the only task of a job off the load of its host."""
        host = self.single.get(job)
        if host:
            self.load[host] -= 1
            self.single[job] = ""

    def _open(self, job: JobLedger) -> JobSchedule:
        hosts = job.hosts

        def loaded(host: int, change: int) -> None:
            self.load[hosts[host]] += change

        schedule = self.schedules[job.job] = JobSchedule(job, loaded)
        return schedule

    def _plan(self, job: JobLedger, stamp: Stamp, out: list[Decided]) -> bool:
        """Plan a job on the living hosts, if these can run all of it. Returns whether it has chains to release."""
        needs = job.needs
        if needs is not None and self._living.lacks(needs):
            self._unschedulable[job.job] = job
            return False
        self._unschedulable.pop(job.job, None)
        if job.n_tasks == 1:
            self._assign_single(job, stamp, out)
            return False
        demand = Demand(needs.of_tasks(job.topology), self._living.rates(needs)) if needs is not None else None
        costs = self.speeds.costs(job, self.costs) if len(self._living.names) > 1 else self.costs
        placed = plan(job.topology, self._living.balance(task_seconds=costs.default_seconds), costs, self.settings.longest_chain, demand)
        epochs = list(self._living.epochs.values())
        for part in plan_messages(job.job, placed, self._living.names, epochs, stamp, self.settings.message_integers):
            self._decide(part, out)
        self._open(job).reassigned_among = self._living
        return True

    def _assign_single(self, job: JobLedger, stamp: Stamp, out: list[Decided]) -> None:
        """Assign the only task of a job to the idlest host that has the resources it needs."""
        name = self._living.idlest(job.spec.functions[job.spec.function[0]].resources)
        target = self._target(job, job.host_id(name))
        self._decide(assign_message(job, Release.of_one_task(), [], target, stamp, graph_source(job)), out)
        self.ledger.changed.pop(job.job, None)
        self.single[job.job] = name
        self.load[name] += 1

    def _advance(self, schedule: JobSchedule, joined: set[str], stamp: Stamp, out: list[Decided]) -> None:
        """Place the unplaced tasks of a job, and release the chains that fit into the windows."""
        job = schedule.job
        if not self._living.names or job.cancel_asked is not None:
            return
        recovery.reassign(schedule, self._living)
        if joined:
            recovery.share_with(schedule, joined, self._living)
        self._recover(schedule, stamp, out)
        self._release(schedule, stamp, out)
        schedule.follow()
        self.ledger.changed.pop(job.job, None)

    def _recover(self, schedule: JobSchedule, stamp: Stamp, out: list[Decided]) -> None:
        """Assign unplaced tasks, even if windows are full: tasks in them may wait for these. Reroute hosts that fetch from elsewhere."""
        if not schedule.unplaced and not schedule.moved:
            return
        job, integers = schedule.job, self.settings.message_integers
        back = self._moving.back.get(job.job, {})
        if job.interrupted or job.failures:
            self._place_suspects(schedule, stamp, out)
        placed = recovery.place_unplaced(schedule, self._living, back)
        rerouted = recovery.reroutes(schedule, self._living, self.now, self.settings.say_again_seconds)
        for host, backlog in placed.items():
            for part in backlog.take_chains(len(backlog.chains), integers):
                self._assign(schedule, host, part, stamp, out, again=True)
                for task in part.tasks.tolist() if back else ():
                    back.pop(task, None)
        for host, datasets in rerouted.items():
            sources, target = schedule.sources(datasets), self._target(job, host)
            for message in reroute_messages(job, datasets.tolist(), sources, target, stamp, integers):
                self._decide(message, out)

    def _place_suspects(self, schedule: JobSchedule, stamp: Stamp, out: list[Decided]) -> None:
        """Assign each unplaced task that must run alone. A task that no living host can run stays unplaced."""
        job = schedule.job
        for task in [task for task in sorted(schedule.unplaced) if runs_alone(job, task)]:
            name = suspects.place(job, task, self._living, self.ledger.hosts, self._suspects.hosts)
            if not name:
                continue
            host = job.host_id(name)
            schedule.unplaced.discard(task)
            schedule.move(ints([task]), host)
            self._moving.back.get(job.job, {}).pop(task, None)
            backlog = Backlog(job.topology, ints([len(job.chains)]), ints([1]), ints([task]))
            [part] = backlog.take_chains(1, self.settings.message_integers)
            self._assign(schedule, host, part, stamp, out, again=True, alone=True)
            self._suspects.placed(job.job, task, name)

    def _move_work(self, stamp: Stamp, out: list[Decided]) -> Iterator[str]:
        """Ask for the tasks back that wait on hosts that are held up or late, and move unreleased chains.

        Yields the jobs with moved chains, which can be released.
        """
        moves = self._moving.find(self._living)
        for back in moves.asks:
            self._ask_back(back, stamp, out)
        for schedule, host, tasks, names in moves.relocations:
            recovery.relocate(schedule, host, tasks, names, self._living)
            yield schedule.job.job

    def _living_among(self, hosts: Mapping[str, HostRecord]) -> LivingHosts:
        return LivingHosts(hosts, self.load, self.running.long, self._suspects.hosts, self.speeds.hosts)

    @property
    def has_work(self) -> bool:
        """Whether anything is placed on a host and not done, so that time alone may call for a decision."""
        return any(self.load.values())

    def _ask_back(self, back: Back, stamp: Stamp, out: list[Decided]) -> None:
        name, epoch, integers = back.job.job, self._living.epochs[back.host], self.settings.message_integers
        self._moving.add_back(back)
        for first in range(0, len(back.chains), integers):
            chains = back.chains[first : first + integers]
            self._decide(Revoke(at=stamp.at, term=stamp.term, job=name, host=back.host, epoch=epoch, chains=chains), out)

    def _release(self, schedule: JobSchedule, stamp: Stamp, out: list[Decided]) -> None:
        for host in sorted(schedule.backlogs):
            name = schedule.job.hosts[host]
            if name in self._living.epochs:
                window = self.settings.window(self.ledger.hosts[name].runners)
                for part in schedule.release(host, window, self.settings.message_integers):
                    self._assign(schedule, host, part, stamp, out)

    def _assign(
        self,
        schedule: JobSchedule,
        host: int,
        release: Release,
        stamp: Stamp,
        out: list[Decided],
        again: bool = False,
        alone: bool = False,
    ) -> None:
        job = schedule.job
        target = self._target(job, host)
        graph = graph_source(job) if schedule.told.get(host) != target.epoch else None
        schedule.told[host] = target.epoch
        sources = recovery.living_sources(schedule, self._living, schedule.sources(release.inputs), host)
        positions = schedule.positions(release) if again else None
        self._decide(assign_message(job, release, sources, target, stamp, graph, positions, alone), out)

    def _target(self, job: JobLedger, host: int) -> Target:
        known = self.ledger.hosts
        addresses = [known[name].address if name in known else "" for name in job.hosts]
        return Target(job.hosts[host], known[job.hosts[host]].epoch, addresses)

    def _decide(self, message: Decided, out: list[Decided]) -> None:
        """Fold a decision, and add it to those to publish."""
        self.ledger.apply(message, 0.0)
        out.append(message)


_FOLDS: dict[type[Any], Callable[[Scheduler, LogEntry, Any], None]] = {
    Events: Scheduler._fold_events,
    HostJoined: Scheduler._fold_host,
    HostLost: Scheduler._fold_host,
}
"""The function for each type of message that changes more than the ledger."""
