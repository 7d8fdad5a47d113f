"""A cluster in miniature, for the scheduler: a log, hosts that do as they are told, a controller that says what is needed again.

Hosts ask for an input only where they were told to, so a wrong source or a missing reroute leaves a task undone for ever.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate

from headrace.bus import Entry
from headrace.graph.topology import Topology
from headrace.ledger import DONE, FAILED, NOWHERE, JobLedger, Ledger
from headrace.scheduler.settings import Settings
from headrace.scheduler.state import Scheduler
from headrace_schemas import (
    Assign,
    Decision,
    Events,
    FunctionProfile,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    LogMessage,
    Needed,
    Reroute,
    Revoke,
    Submitted,
    TaskError,
)

JOB = "job"


@dataclass
class Host:
    """What a host was told in its present epoch. tasks: task -> attempt. chains: chain -> its tasks. sources: dataset -> name of the host
    to ask. started: tasks that it executes. asked: chains that it is to give back."""

    epoch: int
    graph: bool = False
    tasks: dict[int, int] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)
    chains: dict[int, list[int]] = field(default_factory=dict)
    started: set[int] = field(default_factory=set)
    asked: list[int] = field(default_factory=list)


class World:
    """A log that everybody writes to, and everybody who reads it. `ledger` has folded all of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log: list[Entry] = []
        self.ledger = Ledger()
        self.hosts: dict[str, Host] = {}
        self.slow = {"a"}
        """Hosts whose tasks take longer."""
        self.term = 0
        self.now = 0.0
        self.released: list[Assign] = []
        self.promised: set[tuple[int, int]] = set()
        self.has: dict[tuple[str, int], dict[str, float]] = {}
        self.said: dict[tuple[str, int, int], tuple[object, float]] = {}
        """Per host, its epoch, and dataset: what the last reroute said, and when."""
        self.past: list[tuple[str, Host]] = []
        """Hosts in epochs that are over, as they were then."""
        self.restart(0)

    # --- the log ----------------------------------------------------------------------------------------------------------

    def publish(self, message: LogMessage) -> None:
        entry = Entry(len(self.log) + 1, 0.0, "", message)
        self.log.append(entry)
        self.ledger.fold(entry)
        if isinstance(message, Assign):
            self._told_to_run(message)
        elif isinstance(message, Reroute):
            self._told_to_ask(message)
        elif isinstance(message, Revoke):
            self._told_to_give_back(message)

    @property
    def job(self) -> JobLedger:
        return self.ledger.jobs[JOB]

    # --- the scheduler ----------------------------------------------------------------------------------------------------

    def restart(self, lost: int) -> None:
        """The scheduler starts anew, with a higher term and an empty memory."""
        self.term += 1
        self.scheduler = Scheduler(self.settings, self.term)
        self.scheduler.tick(self.now)
        self.read = 0
        if self.log:
            self.scheduler.fold(self.log)
            self.read = len(self.log)
            self._publish_decisions(lost)

    def deliver(self, count: int, again: int = 0) -> None:
        """The scheduler reads some more of the log, perhaps beginning with what it has read already, and decides."""
        self.scheduler.fold(self.log[max(0, self.read - again) : self.read + count])
        self.read = min(len(self.log), self.read + count)
        self._publish_decisions()

    def pass_time(self, seconds: float) -> None:
        """The scheduler is told how late it is, and decides."""
        self.now += seconds
        self.scheduler.tick(self.now)
        self._publish_decisions()

    def _publish_decisions(self, lost: int = 0) -> None:
        """`lost`: so many of the last decisions never reach the log, for the scheduler dies."""
        decisions = self.scheduler.decide()
        for message in decisions[: len(decisions) - lost]:
            assert isinstance(message, Decision)
            assert message.term == self.term
            self.publish(message)  # type: ignore[arg-type]
        if lost:
            self.restart(0)

    def _told_to_run(self, assign: Assign) -> None:
        self.released.append(assign)
        attempts = assign.attempts or [0] * len(assign.tasks)
        for task, attempt in zip(assign.tasks, attempts, strict=True):
            assert (task, attempt) not in self.promised, "an attempt is assigned once"
            self.promised.add((task, attempt))
        has = self.has[assign.host, assign.epoch]
        for task in assign.tasks:
            need = self.job.spec.functions[self.job.spec.function[task]].resources
            assert all(has.get(name, 0) >= amount for name, amount in need.items()), "a host runs only what it can"
        sources = [pair for _, taken in outside_inputs(assign, self.job.topology) for pair in taken]
        for dataset, source in sources:
            self._check_source(dataset, assign.hosts[source], assign.host)
        host = self.hosts.get(assign.host)
        if host is not None and host.epoch == assign.epoch:
            host.graph = host.graph or assign.graph is not None
            assert host.graph, "the first assignment of a job to a host carries the graph"
            host.tasks.update(zip(assign.tasks, attempts, strict=True))
            ends = list(accumulate(assign.lengths))
            host.chains.update((id, assign.tasks[end - n : end]) for id, n, end in zip(assign.chains, assign.lengths, ends, strict=True))
            host.sources.update((dataset, assign.hosts[source]) for dataset, source in sources)

    def _check_source(self, dataset: int, name: str, taker: str) -> None:
        """In the eyes of the scheduler: the host that holds it, or where its maker is placed; the taker itself if that is lost."""
        schedule = self.scheduler.schedules[JOB]
        job = schedule.job
        home = int(job.copies.home[dataset])
        expected = home if home != NOWHERE else int(schedule.where[int(job.topology.producer[dataset])])
        assert name == (job.hosts[expected] if self.scheduler.ledger.hosts[job.hosts[expected]].alive else taker)

    def _told_to_ask(self, reroute: Reroute) -> None:
        self._check_news(reroute)
        host = self.hosts.get(reroute.host)
        if host is not None and host.epoch == reroute.epoch:
            for dataset, source in zip(reroute.datasets, reroute.sources, strict=True):
                host.sources[dataset] = reroute.hosts[source]

    def _check_news(self, reroute: Reroute) -> None:
        """Whatever hosts say, nobody is told twice in a short time to ask the same host for the same attempt at a dataset."""
        attempts = reroute.attempts or [0] * len(reroute.datasets)
        for dataset, source, attempt in zip(reroute.datasets, reroute.sources, attempts, strict=True):
            name = reroute.hosts[source]
            word = name, self.scheduler.ledger.hosts[name].epoch, attempt, self.term
            key = reroute.host, reroute.epoch, dataset
            before, when = self.said.get(key, (None, 0.0))
            assert word != before or self.now >= when + self.scheduler.settings.say_again_seconds, "a host is told once"
            self.said[key] = word, self.now

    def _told_to_give_back(self, revoke: Revoke) -> None:
        host = self.hosts.get(revoke.host)
        if host is not None and host.epoch == revoke.epoch:
            host.asked += revoke.chains

    # --- the controller ---------------------------------------------------------------------------------------------------

    def admit(self, spec: GraphSpec) -> None:
        graph = GraphSource(inline=spec)
        self.publish(Submitted(job=JOB, name="world", n_tasks=spec.n_tasks, graph=graph))

    def join(self, name: str, runners: int = 1, resources: dict[str, float] | None = None) -> None:
        if name in self.hosts:
            return
        epoch, has = 100 + len(self.log), resources or {}
        self.hosts[name], self.has[name, epoch] = Host(epoch), has
        address = f"{name}:1"
        self.publish(HostJoined(at=0, term=1, host=name, epoch=epoch, address=address, runners=runners, capacity=1, resources=has))

    def lose(self, name: str) -> None:
        if name in self.hosts:
            self.publish(HostLost(at=0, term=1, host=name, epoch=self.hosts.pop(name).epoch))

    def rejoin(self, name: str) -> None:
        """A host whose lease lapsed joins again under a new epoch, with nothing, and the log never said that it was lost."""
        if name in self.hosts:
            before = self.hosts.pop(name)
            self.past.append((name, before))
            self.join(name, resources=self.has[name, before.epoch])

    def late(self, pick: int) -> None:
        """Something that a host did in an epoch that is over comes into the log."""
        if self.past:
            name, before = self.past[pick % len(self.past)]
            done = sorted(before.tasks)
            produced = [dataset for task in done for dataset in self.job.topology.outputs_of(task)]
            self.publish(Events(job=JOB, host=name, epoch=before.epoch, done=done, produced=produced))

    def need(self) -> None:
        """Says once more what is needed: work and datasets that no living host has, and all that these need."""
        job = self.job
        needed = {task for task in range(job.n_tasks) if job.states[task] == FAILED}
        while True:
            unfinished = [task for task in range(job.n_tasks) if job.states[task] != DONE or task in needed]
            wanted = {d for task in unfinished for d in job.topology.inputs_of(task).tolist()} | set(job.outputs())
            makers = {int(job.topology.producer[d]) for d in wanted if int(job.copies.home[d]) == NOWHERE}
            more = {task for task in makers if job.states[task] == DONE} - needed
            if not more:
                break
            needed |= more
        if needed:
            tasks = sorted(needed)
            attempts = [job.attempts[task] + 1 for task in tasks]
            self.publish(Needed(at=len(self.log), term=1, job=JOB, tasks=tasks, attempts=attempts, reason="lost"))

    # --- the hosts --------------------------------------------------------------------------------------------------------

    def work(self, name: str, count: int, report_copies: bool = True) -> bool:
        """A host does up to so many of the tasks that it can do. Returns whether there were any."""
        host = self.hosts.get(name)
        done: list[int] = []
        for task in sorted(host.tasks) if host is not None else []:
            if len(done) < count and host is not None and self._can_run(name, host, task):
                done.append(task)
        if not done or host is None:
            return False
        topology = self.job.topology
        produced = [dataset for task in done for dataset in topology.outputs_of(task)]
        copied = [d for task in done for d in topology.inputs_of(task).tolist() if not self._holds(name, d)] if report_copies else []
        attempts = [host.tasks.pop(task) for task in done]
        host.started.difference_update(done)
        made = [a for task, a in zip(done, attempts, strict=True) for _ in topology.outputs_of(task)]
        self.publish(
            Events(
                job=JOB,
                host=name,
                epoch=host.epoch,
                done=done,
                done_attempts=attempts if any(attempts) else [],
                produced=produced,
                produced_attempts=made if any(made) else [],
                copied=sorted(set(copied)),
                profile=self._profile(name, done),
            )
        )
        return True

    def _profile(self, name: str, done: list[int]) -> list[FunctionProfile]:
        """What these tasks took: each a second, and four on a slow host."""
        seconds = 4.0 if name in self.slow else 1.0
        counts = Counter(self.job.topology.function[done].tolist())
        return [FunctionProfile(function=f, count=n, total=n * seconds, longest=seconds) for f, n in counts.items()]

    def start(self, name: str, count: int) -> None:
        """A host says that it executes up to so many of the tasks that it can execute."""
        host = self.hosts.get(name)
        able = [task for task in sorted(host.tasks) if self._can_run(name, host, task)] if host is not None else []
        fresh = [task for task in able[:count] if host is not None and task not in host.started]
        if host is not None and fresh:
            host.started.update(fresh)
            self.publish(Events(job=JOB, host=name, epoch=host.epoch, started=fresh))

    def give_back(self, name: str) -> None:
        """A host gives back the chains that it was asked for, if it has done nothing of them."""
        host = self.hosts.get(name)
        asked, given = (host.asked, list[int]()) if host is not None else ([], [])
        for chain in asked:
            tasks = host.chains[chain] if host is not None else []
            if host is not None and all(task in host.tasks and task not in host.started for task in tasks):
                given.append(chain)
                self.promised -= {(task, host.tasks.pop(task)) for task in tasks}
        if host is not None:
            host.asked = []
            if given:
                self.publish(Events(job=JOB, host=name, epoch=host.epoch, revoked=given))

    def say_gone(self, name: str, pick: int) -> None:
        """A host that holds some dataset has lost it."""
        host = self.hosts.get(name)
        held = [d for d in range(self.job.topology.n_datasets) if self._holds(name, d)] if host is not None else []
        if held and host is not None:
            self.publish(Events(job=JOB, host=name, epoch=host.epoch, gone=[held[pick % len(held)]]))

    def ask_in_vain(self, name: str, pick: int) -> None:
        """A host says that it does not get some dataset from the host that it was told to ask."""
        host = self.hosts.get(name)
        if host is not None and host.sources:
            dataset = sorted(host.sources)[pick % len(host.sources)]
            if not self._holds(name, dataset):
                self.publish(Events(job=JOB, host=name, epoch=host.epoch, gone=[dataset]))

    def cut_off(self, name: str, pick: int) -> None:
        """A task of a host fails, for the host cannot reach another one that has an input."""
        host = self.hosts.get(name)
        tasks = [task for task in host.tasks if task not in host.started and len(self.job.topology.inputs_of(task))] if host else []
        if host is not None and tasks:
            task = sorted(tasks)[pick % len(tasks)]
            error = TaskError(task=task, attempt=host.tasks.pop(task), reason="unreachable")
            self.publish(Events(job=JOB, host=name, epoch=host.epoch, failed=[error]))

    def _holds(self, name: str, dataset: int) -> bool:
        index = self.job.host_ids.get(name)
        return index is not None and self.job.copies.holds(index, dataset)

    def _can_run(self, name: str, host: Host, task: int) -> bool:
        """Whether its inputs are here, or where the host was told to ask for them."""
        for dataset in self.job.topology.inputs_of(task).tolist():
            source = host.sources.get(dataset, "")
            if not self._holds(name, dataset) and not (source in self.hosts and self._holds(source, dataset)):
                return False
        return True

    # --- to the end -------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Everybody reads and does everything, until nothing happens any more. A host comes that has whatever is needed."""
        self.join("last", 1, dict.fromkeys({name for each in self.job.spec.functions for name in each.resources}, 100.0))
        for _ in range(20 * self.job.n_tasks + 50):
            before = len(self.log)
            self.need()
            self.deliver(len(self.log))
            self.pass_time(1.0)
            for name in sorted(self.hosts):
                self.give_back(name)
                self.work(name, 2)
            if len(self.log) == before and self.read == before:
                return
        raise AssertionError("the job goes in circles")


Taken = tuple[list[int], list[tuple[int, int]]]


def outside_inputs(assign: Assign, topology: Topology) -> list[Taken]:
    """Per chain of an assignment: its tasks, and (dataset, source) of what it takes from outside. Computed apart from the scheduler."""
    sources = iter(assign.sources)
    found: list[Taken] = []
    start = 0
    for length in assign.lengths:
        tasks = assign.tasks[start : start + length]
        start += length
        datasets = [dataset for task in tasks for dataset in topology.inputs_of(task).tolist()]
        found.append((tasks, [(d, next(sources)) for d in datasets if int(topology.producer[d]) not in tasks]))
    assert next(sources, None) is None, "a source for each input from outside, and no more"
    return found
