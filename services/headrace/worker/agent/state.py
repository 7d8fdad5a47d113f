"""The host's agent as a pure state machine: what it is told goes in, what it decides comes out, and nothing else happens.

Events are methods, each for a batch; decisions are the actions that `take` returns afterwards. Time comes in through `tick`.

A segment is ready once nothing that it takes is missing; it runs when a runner has room, in plan order. So inside a window nothing
waits for any service but the other hosts, whose datasets are asked for when their consumers are assigned, not when they are about to
run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from headrace.errors import GraphError
from headrace.graph.naming import task_name
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace.runner import protocol
from headrace.runner.protocol import NO_ROOM_YET
from headrace.worker.agent import setbacks
from headrace.worker.agent.actions import (
    Action,
    KillRunner,
    Nudge,
    Recall,
    Report,
    Restore,
    SendBlock,
    SendSpilled,
    Setback,
    Spill,
    ToRunner,
    Unspill,
    Warn,
)
from headrace.worker.agent.checks import (
    check_allocate,
    check_allocate_slab,
    check_assign,
    check_datasets,
    check_fits,
    check_released,
    check_results,
)
from headrace.worker.agent.datasets import Datasets
from headrace.worker.agent.disk import Disk
from headrace.worker.agent.dispatch import Dispatcher, run_frame
from headrace.worker.agent.failures import MemoryShortage, killed_under, not_executed
from headrace.worker.agent.fetching import Fetching
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.jobs import Chain, Entry, HostJob, Segment
from headrace.worker.agent.memory import Claim, Claimant, Memory
from headrace.worker.agent.metrics import Counts
from headrace.worker.agent.peers import Peers
from headrace.worker.agent.report import JobReport
from headrace.worker.agent.reporting import Reporting
from headrace.worker.agent.segmentation import chains_of
from headrace.worker.agent.serving import Serving
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.agent.watchdog import Watchdog, waits_of
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, Events, GraphSpec, HostJoined, HostLost, Purge, Reroute, Revoke, SinkSpec, TaskError
from headrace_schemas.options import options_of
from headrace_shm import Store

MOST_STALLS = 10
"""Room above the capacity is granted to twice as many results at every tick of a stall, up to 2 ** 10."""
MOST_SHOWN = 20
"""Segments of which `waits` tells."""


class Agent:
    """All that a host knows and decides. counts: what happened so far, for metrics. impossible: orders that were passed over.

    now: the time at which it is made, by the clock of `tick`.
    """

    def __init__(self, settings: Settings, epoch: int, store: Store[int], spills: bool = False, now: float = 0.0) -> None:
        self.settings = settings
        self.host = settings.host
        self.epoch = epoch
        self.counts = Counts()
        self.impossible = 0
        self.jobs: dict[str, HostJob] = {}
        self._by_number: dict[int, HostJob] = {}
        self._over: dict[str, None] = {}
        self._over_remembered = settings.over_remembered
        self._forgotten: dict[int, str] = {}
        """Numbers and names of jobs that are over, whose runners may still write to sinks."""
        self._actions: list[Action] = []
        self.serving = Serving(store, self._actions, settings)
        self.grants = Grants(store, self.serving)
        self.memory = Memory(store, self._actions, Disk(store, self._actions, spills, settings), self.grants, settings)
        self.datasets = Datasets(self.memory, self.serving, settings)
        self.runners = Dispatcher(settings, self.datasets.prepare, self.datasets.may_park, lambda: not self.memory.disk.empty)
        self.fetching = Fetching(
            self.jobs, self.datasets, self.memory, self._actions, settings, now, self.runners.ready, self._fail_waiters
        )
        self.sources = self.fetching.sources
        self.peers = Peers(self.jobs, self._over, self.serving, self.grants, self._actions)
        self.reporting = Reporting(self.jobs, self.memory, self.runners.slots, settings)
        self.assigned: tuple[HostJob, Iterator[tuple[Chain, list[tuple[int, str]]]]] | None = None
        """The assignment that is being taken in: its chains that have not been yet, each with the inputs that other hosts have; None if
        there is none."""
        self._numbers = itertools.count(1)
        self._segment_ids = itertools.count(1)
        self._terms: dict[str, int] = {}
        self.clock(now)
        self._stalled_since: tuple[int, float] = (0, now)
        self._stalls = 0
        self.watchdog = Watchdog(settings.stuck_seconds)
        self._doomed: dict[tuple[int, int], float] = {}
        """Since when a runner (slot) executes a task of a job (number) that is over."""
        self._alive_after_kill: set[int] = set()
        """Slots whose runners could not be killed."""
        self._lost_epoch = 0

    @property
    def address(self) -> str:
        """Where other hosts reach this one; until it is known, it passes nothing on."""
        return self.sources.address

    @address.setter
    def address(self, address: str) -> None:
        self.sources.address = address

    # --- the log ----------------------------------------------------------------------------------------------------

    def assign(self, message: Assign, graph: GraphSpec | None) -> None:
        """Chains are released to this host, and the first of them taken in. `graph` comes with a job's first assignment.

        While it is `assigned` nothing else of the log may be told, see `Intake`.
        """
        assert self.assigned is None, "the rest of the assignment before would be lost"
        if message.epoch != self.epoch or self._stale("scheduler", message.term):
            return
        if message.job in self._over:
            if not message.reopens:
                return
            self._reopen(message.job)
        job = self.jobs.get(message.job)
        if job is None:
            job = self._open_first(message, graph)
            if job is None:
                return
        if not self._fits(check_assign, job, message):
            return
        job.addresses.update(zip(message.hosts, message.addresses, strict=True))
        self.sources.named(message.hosts, message.sources, message.at)
        self.assigned = job, chains_of(job, message, partial(next, self._segment_ids))
        self.assign_more()

    def assign_more(self) -> None:
        """Take in the next chains of the assignment."""
        if self.assigned is None:
            return
        job, rest = self.assigned
        part = list(itertools.islice(rest, self.settings.part_chains))
        if len(part) < self.settings.part_chains:
            self.assigned = None
        for chain, given in part:
            if chain.attempts:
                job.attempts.update(chain.attempts)
            for dataset, source in given:
                self.sources.want(job, job.entry(dataset), source)
        self.datasets.use(job, [segment for chain, _ in part for segment in chain.segments])
        self.runners.ready([chain.segments[0] for chain, _ in part if not chain.segments[0].missing])

    def give_up_assignment(self) -> str:
        """The rest of the assignment cannot be taken in. Returns its job; nothing if there is none."""
        job, self.assigned = self.assigned[0].name if self.assigned is not None else "", None
        return job

    def fail_job(self, name: str, text: str) -> None:
        """What this host knows of a job cannot be trusted any more: it is to fail. Its end comes by the log, as always."""
        job = self.jobs.get(name)
        if job is None or job.ended:
            return
        task, attempt = self._unfinished(job)
        error = TaskError(task=task, attempt=attempt, reason="internal", name=task_name(job.spec, task), error=f"host {self.host}: {text}")
        job.report.failed(error)
        self.counts.failed(error.reason)

    @staticmethod
    def _unfinished(job: HostJob) -> tuple[int, int]:
        """A task of a job that this host has not done, with its attempt; the last task if it has none."""
        for chain in job.live_chains():
            for segment in chain.segments:
                if not segment.over:
                    return segment.tasks[0], chain.attempts.get(segment.tasks[0], 0)
        return job.spec.n_tasks - 1, job.attempts.get(job.spec.n_tasks - 1, 0)

    def _reopen(self, name: str) -> None:
        """A job that is done makes outputs again. For runners, which may have been told that it is over, it is another one."""
        del self._over[name]
        job = self.jobs.get(name)
        if job is not None:
            del self._by_number[job.number]
            job.begin_again(job.report)
            job.reopen(next(self._numbers))
            self._by_number[job.number] = job

    def _open_first(self, message: Assign, graph: GraphSpec | None) -> HostJob | None:
        """Take the job up with its first assignment; None, and a report of it, if it cannot run here for want of a graph."""
        if graph is None:
            self._reject(message, f"host {self.host} cannot have the job's graph from the object store; see its log")
            return None
        try:
            topology = validate(graph)
        except GraphError as error:
            self._reject(message, f"host {self.host} has another graph for the job than was submitted: {error}")
            return None
        return self._open(message.job, graph, topology, options_of(message.options, message.graph).sink)

    def _reject(self, message: Assign, text: str) -> None:
        """Its job cannot run here; the host goes on."""
        if message.tasks:
            error = TaskError(task=message.tasks[0], attempt=message.attempts[0] if message.attempts else 0, reason="no_graph", error=text)
            self._actions.append(Report(Events(job=message.job, host=self.host, epoch=self.epoch, failed=[error])))

    def _fits(self, check: Callable[[HostJob, Any], None], job: HostJob, given: Any) -> bool:
        """Whether an order can be carried out. One that cannot, for it names what is not in the graph, is passed over."""
        try:
            check(job, given)
        except ValueError:
            self.impossible += 1
            return False
        return True

    def _open(self, name: str, graph: GraphSpec, topology: Topology, sink: SinkSpec | None) -> HostJob:
        timings = [self.counts.functions.of(function.name) for function in graph.functions]
        job = HostJob(
            next(self._numbers), name, graph, JobReport(name, self.host, self.epoch, self.reporting.news), timings, topology, sink
        )
        self.jobs[name] = self._by_number[job.number] = job
        self.peers.job_opened(job)
        return job

    def rejoin(self, epoch: int) -> None:
        """Begin a new epoch: the cluster took this host for lost. What it was to do is void, what it holds stays. To be called when its
        runners and links are gone; facts that were not taken by `all_reports` before are void."""
        self.epoch = epoch
        self.assigned = None
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
                self._drop_chain(chain)
            job.begin_again(JobReport(job.name, self.host, epoch, self.reporting.news))
            self.datasets.begin_again(job)
            if job.ended and not job.entries:
                self._forget(job)
        self.memory.forget_claims()
        self.sources.begin_again()
        self.reporting.begin_again()
        self._doomed.clear()
        self._alive_after_kill.clear()
        self._actions[:] = [action for action in self._actions if isinstance(action, Spill | Restore | Unspill)]

    def purge(self, message: Purge) -> None:
        """Drop copies, or say that they are needed."""
        job = self._addressed(message, "controller")
        if job is None or not self._fits(check_datasets, job, message.datasets):
            return
        for dataset in self.datasets.purge(job, message.datasets):
            job.report.kept(dataset)
        if job.ended and not job.entries:
            self._forget(job)

    def revoke(self, message: Revoke) -> None:
        """Give back chains that have not started; one that has is finished here. A runner that has it may not have begun it."""
        job = self._addressed(message, "scheduler")
        if job is None:
            return
        for id in message.chains:
            chain = job.chains.get(id)
            if chain is None:
                continue
            if not chain.next:
                self._give_back(chain)
            elif not chain.asked_back:
                chain.asked_back = True
                self._recall(self.runners.slots[chain.slot])

    def reroute(self, message: Reroute) -> None:
        """Ask other hosts than before for these datasets."""
        job = self._addressed(message, "scheduler")
        if job is None or not self._fits(check_datasets, job, message.datasets):
            return
        job.addresses.update(zip(message.hosts, message.addresses, strict=True))
        self.sources.named(message.hosts, message.sources, message.at)
        attempts = message.attempts or [0] * len(message.datasets)
        for dataset, source, attempt in zip(message.datasets, message.sources, attempts, strict=True):
            entry, host = job.entries.get(dataset), message.hosts[source]
            if entry is None or entry.here:
                continue
            if host == self.host:
                self.sources.ask_nobody(job, entry)
            elif entry.source != host or not entry.asked or entry.promised != attempt:
                entry.promised = attempt
                self.sources.ask_again(job, entry, host)

    def end(self, message: Ended) -> None:
        """A job is over."""
        self._over[message.job] = None
        if len(self._over) > self._over_remembered:
            del self._over[next(iter(self._over))]
        self.peers.job_ended(message.job)
        job = self.jobs.get(message.job)
        if job is None or job.ended:
            return
        job.ended = message.state
        executing = self._drop_chains(job) if job.n_live else set()
        job.chains.clear()
        self.datasets.drop_job(job, keep_outputs=message.state == "done")
        for slot in job.runners:
            runner, number = self.runners.slots[slot], job.number
            awaited = slot in executing or self.grants.has_orphans(runner) or self.runners.holds_resources(slot, number)
            if message.state == "done" and not awaited:
                runner.closing.append(number)
            else:
                self._actions.append(ToRunner(slot, protocol.CloseJob(number)))
        if not job.entries:
            self._forget(job)

    def _drop_chains(self, job: HostJob) -> set[int]:
        """Forget the chains of a job that is over. Returns the slots of runners that execute something of it."""
        executing = self._doom_runners(job)
        for segment in (segment for chain in job.live_chains() for segment in chain.segments):
            segment.over = True
        self.runners.drop_job(job)
        job.n_live = 0
        return executing

    def log_rewound(self, unknown: Iterable[str]) -> None:
        """The log lost its last messages. unknown: jobs that are not in it any more. Terms that leaders had then may come again."""
        self._terms.clear()
        for job in unknown:
            self.end(Ended(at=0, term=0, job=job, state="cancelled"))

    def _doom_runners(self, job: HostJob) -> set[int]:
        """A runner that executes a task of a job that is over has a while to finish it, and gets nothing else meanwhile. Returns their
        slots."""
        slots = {runner.slot for runner in self.runners.slots if any(segment.chain.job is job for segment in runner.outstanding.values())}
        for slot in slots:
            self.runners.slots[slot].unclosed.add(job.number)
        self._doomed.update(((slot, job.number), self._now) for slot in slots)
        return slots

    def _close_quietly(self, runner: RunnerSlot) -> None:
        """Tell a runner of jobs that are over. It need not wake for each: it has nothing of them to execute."""
        for number in runner.closing:
            self._actions.append(ToRunner(runner.slot, protocol.CloseJob(number, quietly=True)))
        runner.closing.clear()

    def _forget(self, job: HostJob) -> None:
        if job.has_sinks:
            self._forgotten[job.number] = job.name
            if len(self._forgotten) > self._over_remembered:
                del self._forgotten[next(iter(self._forgotten))]
        del self.jobs[job.name]
        del self._by_number[job.number]
        self.reporting.news.pop(job.name, None)

    def _addressed(self, message: Purge | Revoke | Reroute, service: str) -> HostJob | None:
        """The job that a message is about, if it is known here and the message is of this epoch and of no older term."""
        job = self.jobs.get(message.job)
        return None if job is None or message.epoch != self.epoch or self._stale(service, message.term) else job

    def _stale(self, service: str, term: int) -> bool:
        if term < self._terms.get(service, 0):
            return True
        self._terms[service] = term
        return False

    # --- runners ----------------------------------------------------------------------------------------------------

    def runner_started(self, slot: int) -> None:
        """A runner is ready for work."""
        self.runners.runner_started(slot)

    def allocate(self, slot: int, frame: protocol.Allocate) -> None:
        """A runner wants room for a result. Raises ValueError for what it may not ask."""
        job, runner = self._by_number.get(frame.job), self.runners.slots[slot]
        segment = runner.outstanding.get(frame.segment)
        if job is None or segment is None or segment.over:
            self._actions.append(ToRunner(slot, protocol.Grant(frame.job, frame.dataset, 0, NO_ROOM_YET)))
            return
        check_allocate(job, segment, frame)
        who = Claimant(slot=slot, generation=runner.generation, segment=segment.id)
        if not self.memory.claim(Claim(segment.chain.order, 0, job, frame.dataset, frame.nbytes, who)):
            self.runners.defer(slot, segment)

    def allocate_slab(self, slot: int, frame: protocol.AllocateSlab) -> None:
        """A runner wants room for an array that a task is about to fill. Raises ValueError for what it may not ask."""
        check_allocate_slab(frame)
        self.memory.grant_slab(self.runners.slots[slot], frame.nbytes)

    def slab_refused(self, slot: int, block: int, memory: int | None) -> None:
        """There is no memory behind the place of a slab. memory: bytes that the arena has, if its folder is full."""
        self.grants.slabs.drop(self.runners.slots[slot].client, block)
        if memory is not None:
            self.memory.shortage.found(memory, self._now)

    def called(self, number: int, task: int = -1) -> dict[str, str]:
        """What a job that has this number here is called, and a task of it, for people; nothing for a job that is gone."""
        job = self._by_number.get(number)
        if job is None:
            return {}
        return {"job": job.name, "task": task_name(job.spec, task)} if task >= 0 else {"job": job.name}

    def granted_bytes(self, number: int, dataset: int) -> int:
        """Bytes of the place that a job's dataset was granted; 0 if it is none any more."""
        job = self._by_number.get(number)
        entry = job.entries.get(dataset) if job is not None else None
        return entry.granted.nbytes if entry is not None and entry.granted is not None else 0

    def unbacked(self, slot: int, grant: protocol.Grant, memory: int) -> None:
        """There is no memory behind the place that a runner's result was granted: it waits. memory: bytes that the arena has."""
        job = self._by_number.get(grant.job)
        entry = job.entries.get(grant.dataset) if job is not None else None
        if entry is None or entry.claim is None:
            self._actions.append(ToRunner(slot, protocol.Grant(grant.job, grant.dataset, 0, NO_ROOM_YET)))
            return
        segment = self.runners.slots[slot].outstanding.get(entry.claim.who.segment)
        if self.memory.unbacked(entry, memory):
            self._actions.append(ToRunner(slot, protocol.Grant(grant.job, grant.dataset, 0, NO_ROOM_YET)))
        if segment is not None:
            self.runners.defer(slot, segment)

    def closed(self, slot: int, frame: protocol.Closed) -> None:
        """A runner executes nothing more of a job that is over, and writes nothing for it."""
        self.grants.closed(self.runners.slots[slot], frame.job)
        self.runners.closed(slot, frame.job)

    def released(self, slot: int, frame: protocol.Released) -> None:
        """A runner let go of views. Raises ValueError if it says so in a way that nobody can understand."""
        check_released(frame)
        client = self.runners.slots[slot].client
        for block, count in zip(frame.blocks, frame.counts, strict=True):
            if self.memory.store.release(block, client, count) or self.grants.slabs.drop(client, block):
                self.grants.progress += 1

    def results(self, slot: int, frame: protocol.Results) -> None:
        """What a runner has done. Raises ValueError for what it may not say; then nothing of it counts."""
        job = self._by_number.get(frame.job)
        self.runners.heard(frame.segments, frame.failed_segments)
        for value in frame.values:
            if isinstance(value, int):
                self.grants.written(self.runners.slots[slot], value)
        if job is None or job.ended:
            self.grants.drop_slabs(self.runners.slots[slot], frame.values)
            self._late(job, frame)
            return
        check_results(job, self.runners.slots[slot].outstanding, frame)
        self._produced(job, slot, frame)
        if frame.metadata:
            for dataset, metadata in zip(frame.metadata_ids, frame.metadata, strict=True):
                job.report.metadata(dataset, metadata)
        for written in frame.written:
            job.report.written(written)
        if frame.typed:
            for dataset, dtype, shape in zip(frame.typed, frame.dtypes, frame.shapes, strict=True):
                job.report.array(dataset, dtype, shape)
        self._segments_ended(job, slot, frame.segments)
        for task in frame.tasks:
            job.report.task_done(task, job.attempts.get(task, 0))
        measured = zip(frame.functions, frame.function_counts, frame.function_seconds, frame.function_longest, strict=True)
        for function, count, total, longest in measured:
            if job.learn(function, total / count):
                self.runners.learned(job)
            job.timings[function].add(total, count, longest)
        job.report.profile(frame)
        if frame.failed:
            for id, error in zip(frame.failed_segments, frame.failed, strict=True):
                for segment in self.runners.ended(slot, job, [id]):
                    self._fail(job, segment.chain, error)

    def _late(self, job: HostJob | None, frame: protocol.Results) -> None:
        """What was written to sinks for a job that is over is to be removed there."""
        name = job.name if job is not None else self._forgotten.get(frame.job)
        for written in frame.written:
            check_fits(written, "what is said to be in a sink")
        if frame.written and name is not None:
            late = {"written": frame.written, "metadata_ids": frame.metadata_ids, "metadata": frame.metadata}
            self._actions.append(Report(Events(job=name, host=self.host, epoch=self.epoch, **late)))  # type: ignore[arg-type]

    def _produced(self, job: HostJob, slot: int, frame: protocol.Results) -> None:
        small = {dataset: value for dataset, value in zip(frame.datasets, frame.values, strict=True) if isinstance(value, bytes)}
        if len(small) < len(frame.datasets):
            for dataset, value in zip(frame.datasets, frame.values, strict=True):
                if isinstance(value, int):
                    self._stored(job, slot, dataset, value)
        attempts = {dataset: job.attempts.get(job.producer[dataset], 0) for dataset in small} if job.attempts else {}
        job.report.values(list(small), list(attempts.values()), list(small.values()), job.is_held)
        taken = {dataset: value for dataset, value in small.items() if job.is_taken[dataset] or dataset in job.entries}
        if taken:
            self.runners.ready(self.datasets.values(job, taken, attempts, made=True))

    def _stored(self, job: HostJob, slot: int, dataset: int, block: int) -> None:
        """A runner wrote a dataset to a block of the arena."""
        made = self.grants.made(job, dataset, block, self.runners.slots[slot])
        if made is not None:
            attempt = job.attempts.get(job.producer[dataset], 0)
            self.runners.ready(self.datasets.stored(job, dataset, attempt, made))
            job.report.produced(dataset, attempt, made.nbytes, job.is_held[dataset])
        elif dataset not in job.entries or not job.entries[dataset].here:
            job.report.gone(dataset)  # its room was taken back meanwhile

    def _segments_ended(self, job: HostJob, slot: int, ids: list[int]) -> None:
        ended = self.runners.ended(slot, job, ids)
        self.datasets.unuse(job, ended)
        self.grants.progress += len(ended)
        done = []
        for segment in ended:
            segment.over = True
            chain = segment.chain
            chain.ended += 1
            if chain.again:
                for task in segment.tasks:
                    job.report.task_done(task, chain.attempts.get(task, 0))
            if chain.ended == len(chain.segments):
                job.close(chain)
                done += [] if chain.again else [chain.id]
        job.report.chains_done(done)

    def _fail(self, job: HostJob, chain: Chain, error: TaskError) -> None:
        """A task failed: its chain ends here, and the controller says what of it is needed again."""
        job.report.failed(error)
        self.counts.failed(error.reason)
        self._drop_chain(chain)

    def _drop_chain(self, chain: Chain) -> None:
        job, dropped = chain.job, [segment for segment in chain.segments if not segment.over]
        for segment in dropped:
            segment.over = True
        self.datasets.unuse(job, dropped)
        if chain.slot >= 0:
            self.runners.ended(chain.slot, job, [segment.id for segment in dropped])
            self.runners.slots[chain.slot].kept.discard(chain)
        job.close(chain)

    def runner_died(self, slot: int, task: tuple[int, int] | None, code: int, pid: int, shortage: MemoryShortage | None = None) -> None:
        """A runner ended. `task` is the (job number, task) it executed; `code` its exit code, or minus a signal.

        shortage: if the kernel killed it for want of memory.
        """
        runner = self.runners.slots[slot]
        self.memory.drop_claims(slot)
        self.grants.runner_died(runner, (entry for job in self.jobs.values() for entry in job.entries.values()))
        for key in [key for key in self._doomed if key[0] == slot]:
            del self._doomed[key]
        self._alive_after_kill.discard(slot)
        lost = self.runners.runner_died(slot)
        there = {segment.chain for segment in lost}
        for job in list(self._by_number.values()):
            job.runners.discard(slot)
            for chain in [chain for chain in job.live_chains() if chain.slot == slot and chain.next and chain not in there]:
                self._give_back(chain)
        for segment in lost:
            if not segment.over:
                self._lost(segment, task, code, pid, shortage)

    def _lost(self, segment: Segment, task: tuple[int, int] | None, code: int, pid: int, shortage: MemoryShortage | None) -> None:
        """A segment was at a runner that died: run it again, unless it was the one that was executed, or its chain's values died too."""
        chain, job = segment.chain, segment.chain.job
        if task is not None and task[0] == job.number and task[1] in segment.tasks:
            error = killed_under(job, task[1], chain.attempts.get(task[1], 0), code, pid)
            self._fail(job, chain, error if shortage is None else shortage.told_in(error, self.host, self.memory.store.used))
        elif chain.ended or segment.place:
            self._give_back(chain)
        else:
            chain.next, chain.slot = 0, -1
            self.runners.ready([segment])

    def _give_back(self, chain: Chain) -> None:
        """A chain will not go on here: let it be placed again."""
        chain.job.report.revoked(chain.id)
        self._drop_chain(chain)

    # --- recalls ------------------------------------------------------------------------------------------------------

    def clock(self, now: float) -> None:
        """What time it is, by the clock of `tick`; to be told with each batch of events."""
        self._now = self.runners.now = now
        self.memory.clock(now)

    @property
    def look_at(self) -> float:
        """When to call `take` even if nothing happens until then; infinity if never."""
        return self.runners.next_look()

    def _recall(self, runner: RunnerSlot) -> None:
        if not runner.recalling:
            self._actions.append(Recall(runner.slot, self.runners.recall(runner)))

    def recalled(self, slot: int, number: int, begun: int) -> None:
        """A moment after a recall: what the runner had begun. What it had not runs elsewhere."""
        runner = self.runners.slots[slot]
        if not runner.recalling or runner.recalls != number:
            return  # another process has the slot
        taken = self.runners.recalled(runner, begun)
        self._actions.append(ToRunner(slot, protocol.Recall(number, [segment.id for _, segments in taken for segment in segments])))
        for chain, segments in taken:
            self.datasets.unpin(segments)
            if chain.asked_back:
                self._give_back(chain)
            else:
                self.runners.ready([chain.segments[0]])

    # --- the disk ---------------------------------------------------------------------------------------------------

    def spilled(self, key: str, ok: bool, trouble: str = "") -> None:
        """What was to be written to disk is there, or could not be written. trouble: why."""
        self.datasets.spilled(key, ok, trouble)

    def unread(self, key: str, memory: int) -> None:
        """There is no memory behind the place that a dataset was to be read into. memory: bytes that the arena has."""
        held = self.memory.disk.found(key)
        self.memory.unbacked(held[1] if held is not None else Entry(-1), memory, read=key)

    def restored(self, key: str, ok: bool) -> None:
        """What was to be read from disk is in the arena, or could not be read."""
        self.runners.ready(self.datasets.restored(key, ok))

    # --- other hosts -----------------------------------------------------------------------------------------------

    def host_lost(self, message: HostLost) -> None:
        """The log says that a host is lost: this one, or another one, of which nothing more is expected."""
        if message.host == self.host:
            self._lost_epoch = max(self._lost_epoch, message.epoch if message.cut else 0)
        else:
            self.sources.host_lost(message.host, message.epoch, message.at)

    @property
    def expelled(self) -> bool:
        """Whether the log says that others cannot reach this host: nothing that it does in this epoch counts any more."""
        return self._lost_epoch >= self.epoch

    def host_joined(self, message: HostJoined) -> None:
        """The log says that a host has taken up work."""
        if message.host != self.host:
            self.sources.host_joined(message.host, message.epoch, again=message.again)

    def _fail_waiters(self, job: HostJob, entry: Entry, reason: str, text: str) -> None:
        """A dataset can never be had here: the tasks that wait for it fail."""
        for segment in list(entry.waiters):
            if not segment.over:
                self._fail(job, segment.chain, not_executed(job, segment.chain, segment.tasks[0], reason, text))

    def unreadable(self, key: str) -> None:
        """A part of what is on disk under a key, which was to be sent, cannot be read."""
        self.datasets.unreadable(key)

    # --- time, and what follows ------------------------------------------------------------------------------------------

    def tick(self, now: float, executing: Sequence[tuple[int, int] | None]) -> None:
        """Time passed; `now` in seconds of a clock that never goes back, `executing` from the status page, a slot each."""
        self.clock(now)
        self.sources.tick(now)
        self._watch_for_stall(now)
        self._watch(now, executing)
        self._try_again_at_tick()
        for runner in self.runners.slots:
            self._close_quietly(runner)
        if self._doomed:
            self._end_doomed(now, executing)

    def _end_doomed(self, now: float, executing: Sequence[tuple[int, int] | None]) -> None:
        """Kill runners that execute a task of a job that is over for longer than they have time for."""
        grace = self.settings.grace_seconds if self.runners.idle else self.settings.crowded_grace_seconds
        for (slot, number), since in list(self._doomed.items()):
            task = executing[slot]
            if task is None or task[0] != number:
                del self._doomed[slot, number]
            elif now >= since + grace:
                del self._doomed[slot, number]
                self._actions.append(KillRunner(slot))

    def _watch(self, now: float, executing: Sequence[tuple[int, int] | None]) -> None:
        """Name what segments wait for that should have come."""
        if not self.watchdog.is_due(now):
            return
        for overdue in self.watchdog.look(now, waits_of(self, executing)):
            self._actions.append(Warn(str(overdue)))
            if overdue.lost >= 0:
                self.jobs[overdue.job].report.gone(overdue.lost)

    def waits(self, executing: Sequence[tuple[int, int] | None]) -> list[dict[str, str]]:
        """For people: what the earliest segments wait for. executing: as in `tick`."""
        found = itertools.islice(waits_of(self, executing), MOST_SHOWN)
        return [{"job": job.name, "task": task_name(job.spec, each.tasks[0]), "waits_for": wait.text} for job, each, wait in found]

    def _watch_for_stall(self, now: float) -> None:
        """With nothing at work that could free memory, results get room above the capacity: at first one, then more at every tick."""
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

    def executing(self, tasks: Sequence[tuple[int, int] | None]) -> None:
        """What the status page shows, a slot each: (job number, task). Each task is reported as started once."""
        for item in tasks:
            job = self._by_number.get(item[0]) if item is not None else None
            if item is None or job is None or job.ended or item[1] in job.running:
                continue
            if 0 <= item[1] < job.spec.n_tasks:  # tasks could write to the page themselves
                job.running.add(item[1])
                job.report.started(item[1])

    def _undefer(self, claims: list[Claim]) -> None:
        for claim in claims:
            if claim.who.slot >= 0:
                self.runners.slots[claim.who.slot].deferred.discard(claim.who.segment)

    def _allowed(self, segment: Segment) -> bool:
        """Under pressure: whether a segment may start, because it frees memory or is the earliest there is."""
        if any(entry.block is not None or entry.spill_key for entry in segment.entries):
            return True
        first = self.memory.first_claim
        return segment.chain.order <= first if first is not None else not any(runner.busy for runner in self.runners.slots)

    def take(self) -> list[Action]:
        """Everything that follows from the events so far, save reports."""
        if granted := self.memory.settle():
            self._undefer(granted)
        if self.memory.refused:
            self._fail_refused()
        if self.runners.has_ready:
            self.runners.fill(self._allowed if self.memory.pressed else None)
        if self.runners.queued:
            self._actions.extend(Nudge(runner.slot) for runner in self.runners.overdue())
            for runner in self.runners.to_recall():
                self._recall(runner)
        if self.runners.batched:
            self._send_batches()
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
                self._fail_waiters(claim.job, entry, "too_large", self.memory.shortage.in_words(what, claim.nbytes))

    # --- actions that could not be carried out ----------------------------------------------------------------------------

    def action_failed(self, action: Action, setback: Setback) -> None:
        """An action that `take` returned could not be carried out, at once or later."""
        setbacks.answer(self, action, setback)

    def trouble(self) -> list[str]:
        """For people: what does not work on this host just now."""
        return [*self.memory.trouble(), *self.watchdog.in_words()]

    def act(self, action: Action) -> None:
        """Have an action carried out."""
        self._actions.append(action)

    def fail_segments(self, slot: int, number: int, ids: list[int], text: str) -> None:
        """Segments never reached their runner: their first tasks fail as if it had died."""
        job, outstanding = self._by_number.get(number), self.runners.slots[slot].outstanding
        for segment in [outstanding[id] for id in ids if id in outstanding]:
            if segment.chain.job is job and not segment.over:
                task = segment.tasks[0]
                self._fail(job, segment.chain, not_executed(job, segment.chain, task, "runner_died", text))

    def all_reports(self) -> list[Events]:
        """All facts that were not published, also those that would wait for more."""
        return self.reporting.everything(self._actions)

    def fail_task(self, job: HostJob, error: TaskError) -> None:
        """A task failed whose chain may be over here."""
        job.report.failed(error)
        self.counts.failed(error.reason)

    def kill_again(self, slot: int) -> None:
        """A runner could not be killed: try again at the next tick."""
        self._alive_after_kill.add(slot)

    def _try_again_at_tick(self) -> None:
        self._actions += [KillRunner(slot) for slot in sorted(self._alive_after_kill)]
        self._alive_after_kill.clear()
        self._actions += self.reporting.at_tick()

    def _send_batches(self) -> None:
        for runner, number, segments in self.runners.batches():
            job, slot = self._by_number[number], runner.slot
            if slot not in job.runners:
                job.runners.add(slot)
                self._actions.append(ToRunner(slot, self._open_job(job)))
            frame = run_frame(job, segments, runner.number(segments), partial(self.datasets.locate, runner=runner))
            if frame.attempts:
                self._say_started(job, frame)
            self._actions.append(ToRunner(slot, frame))
            self.datasets.dispatched(segments)
            self._close_quietly(runner)

    def _say_started(self, job: HostJob, frame: protocol.Run) -> None:
        """Report retried tasks as started before they are: should this host be lost under one of them, the log knows which."""
        for task, attempt in zip(frame.tasks, frame.attempts, strict=True):
            if attempt:
                job.running.add(task)
                job.report.started(task, at_once=True)

    def _open_job(self, job: HostJob) -> protocol.OpenJob:
        """The graph for a runner: without metadata, unless that is needed for the names of files."""
        if job.has_sinks:
            return protocol.OpenJob(job.number, job.spec, protocol.SinksOfJob(job.name, self.host, self.epoch, job.sinks.default), job.name)
        lean = msgspec.structs.replace(job.spec, annotated=[], metadata=[], described=[], descriptions=[])
        return protocol.OpenJob(job.number, lean, name=job.name)
