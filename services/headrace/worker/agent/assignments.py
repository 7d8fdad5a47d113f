"""Execution of the log's orders: to run or give back chains, to drop datasets or ask other hosts for them, and to end jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from headrace.errors import GraphError
from headrace.graph.naming import task_name
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace.runner import protocol
from headrace.worker.agent.actions import Action, Report, ToRunner
from headrace.worker.agent.chains import Chains
from headrace.worker.agent.checks import check_assign, check_datasets
from headrace.worker.agent.datasets import Datasets
from headrace.worker.agent.dispatch import Dispatcher
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.jobs import Chain, HostJob
from headrace.worker.agent.known import KnownJobs
from headrace.worker.agent.metrics import Counts
from headrace.worker.agent.peers import Peers
from headrace.worker.agent.report import JobReport
from headrace.worker.agent.segmentation import chains_of
from headrace.worker.agent.sources import Sources
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, Events, GraphSpec, HostJoined, HostLost, Purge, Reroute, Revoke, SinkSpec, TaskError, TermBegan
from headrace_schemas.options import options_of


class Assignments:
    """Carries out the orders of controller and scheduler. Appends actions to the list it was given.

    impossible: the number of orders that were ignored because they do not fit the job's graph. news: the jobs with facts to publish.
    """

    def __init__(
        self,
        known: KnownJobs,
        chains: Chains,
        datasets: Datasets,
        grants: Grants,
        runners: Dispatcher,
        sources: Sources,
        peers: Peers,
        news: dict[str, None],
        counts: Counts,
        actions: list[Action],
        settings: Settings,
    ) -> None:
        self._known = known
        self._chains = chains
        self._datasets = datasets
        self._grants = grants
        self._runners = runners
        self._sources = sources
        self._peers = peers
        self._news = news
        self._counts = counts
        self._actions = actions
        self._settings = settings
        self._host = settings.host
        self.impossible = 0
        self.assigned: tuple[HostJob, Iterator[tuple[Chain, list[tuple[int, str]]]]] | None = None
        """The assignment that is being taken in, or None: its job and its remaining chains, each with the inputs that other hosts have."""
        self._numbers = itertools.count(1)
        self._segment_ids = itertools.count(1)
        self._terms = dict[str, int].fromkeys(("controller", "scheduler"), 0)
        self._lost_epoch = 0

    # --- assignments --------------------------------------------------------------------------------------------------

    def assign(self, message: Assign, graph: GraphSpec | None) -> None:
        """Take in the first chains that an assignment releases to this host. `graph` comes with a job's first assignment.

        While `assigned` is not None, no other message of the log may be passed in, see `Intake`.
        """
        assert self.assigned is None, "an assignment came before the last one was taken in"
        if message.epoch != self._known.epoch or self._stale("scheduler", message.term):
            return
        if message.job in self._known.over:
            if not message.reopens:
                return
            self._reopen(message.job)
        job = self._known.by_name.get(message.job)
        if job is None:
            job = self._open_first(message, graph)
            if job is None:
                return
        if not self._fits(check_assign, job, message):
            return
        job.addresses.update(zip(message.hosts, message.addresses, strict=True))
        self._sources.named(message.hosts, message.sources, message.at)
        self.assigned = job, chains_of(job, message, partial(next, self._segment_ids))
        self.assign_more()

    def assign_more(self) -> None:
        """Take in the next chains of the assignment."""
        if self.assigned is None:
            return
        job, rest = self.assigned
        part = list(itertools.islice(rest, self._settings.part_chains))
        if len(part) < self._settings.part_chains:
            self.assigned = None
        for chain, given in part:
            if chain.attempts:
                job.attempts.update(chain.attempts)
            for dataset, source in given:
                self._sources.want(job, job.entry(dataset), source)
        self._datasets.use(job, [segment for chain, _ in part for segment in chain.segments])
        self._runners.ready([chain.segments[0] for chain, _ in part if not chain.segments[0].missing])

    def give_up_assignment(self) -> str:
        """Drop the rest of an assignment that failed. Return its job, or an empty string if there is no assignment."""
        job, self.assigned = self.assigned[0].name if self.assigned is not None else "", None
        return job

    def _open_first(self, message: Assign, graph: GraphSpec | None) -> HostJob | None:
        """Open a job with its first assignment. Without a valid graph, report that the job cannot run here, and return None."""
        if graph is None:
            self._reject(message, f"host {self._host} could not read the job's graph from the object store. The host's log says why")
            return None
        try:
            topology = validate(graph)
        except GraphError as error:
            self._reject(message, f"host {self._host} read an invalid graph of the job from the object store: {error}")
            return None
        return self._open(message.job, graph, topology, options_of(message.options, message.graph).sink)

    def _reject(self, message: Assign, text: str) -> None:
        """Report that a job cannot run here: its first task fails."""
        if message.tasks:
            error = TaskError(task=message.tasks[0], attempt=message.attempts[0] if message.attempts else 0, reason="no_graph", error=text)
            self._actions.append(Report(Events(job=message.job, host=self._host, epoch=self._known.epoch, failed=[error])))

    def _open(self, name: str, graph: GraphSpec, topology: Topology, sink: SinkSpec | None) -> HostJob:
        timings = [self._counts.functions.of(function.name) for function in graph.functions]
        job = HostJob(next(self._numbers), name, graph, JobReport(name, self._host, self._known.epoch, self._news), timings, topology, sink)
        self._known.by_name[name] = self._known.by_number[job.number] = job
        self._peers.job_opened(job)
        return job

    def _reopen(self, name: str) -> None:
        """Open a job that was done, because outputs are to be made again.

        It gets another number, because runners may know that the job with the old number is over.
        """
        del self._known.over[name]
        job = self._known.by_name.get(name)
        if job is not None:
            del self._known.by_number[job.number]
            job.begin_again(job.report)
            job.reopen(next(self._numbers))
            self._known.by_number[job.number] = job

    # --- other orders -------------------------------------------------------------------------------------------------

    def purge(self, message: Purge) -> None:
        """Drop copies of datasets. Report those that this host still needs."""
        job = self._addressed(message, "controller")
        if job is None or not self._fits(check_datasets, job, message.datasets):
            return
        for dataset in self._datasets.purge(job, message.datasets):
            job.report.kept(dataset)
        if job.ended and not job.entries:
            self.forget(job)

    def revoke(self, message: Revoke) -> None:
        """Give back chains that have not started. This host finishes a chain that has started.

        A chain that was sent to a runner may not have started: it is recalled.
        """
        job = self._addressed(message, "scheduler")
        if job is None:
            return
        for id in message.chains:
            chain = job.chains.get(id)
            if chain is None:
                continue
            if not chain.next:
                self._chains.give_back(chain)
            elif not chain.asked_back:
                chain.asked_back = True
                self._chains.recall(self._runners.slots[chain.slot])

    def reroute(self, message: Reroute) -> None:
        """Ask other hosts than before for these datasets."""
        job = self._addressed(message, "scheduler")
        if job is None or not self._fits(check_datasets, job, message.datasets):
            return
        job.addresses.update(zip(message.hosts, message.addresses, strict=True))
        self._sources.named(message.hosts, message.sources, message.at)
        attempts = message.attempts or [0] * len(message.datasets)
        for dataset, source, attempt in zip(message.datasets, message.sources, attempts, strict=True):
            entry, host = job.entries.get(dataset), message.hosts[source]
            if entry is None or entry.here:
                continue
            if host == self._host:
                self._sources.ask_nobody(job, entry)
            elif entry.source != host or not entry.asked or entry.promised != attempt:
                entry.promised = attempt
                self._sources.ask_again(job, entry, host)

    def _addressed(self, message: Purge | Revoke | Reroute, service: str) -> HostJob | None:
        """Return the job of a message. None if this host does not know it, or if the message is of another epoch or an older term."""
        job = self._known.by_name.get(message.job)
        return None if job is None or message.epoch != self._known.epoch or self._stale(service, message.term) else job

    def term_began(self, message: TermBegan) -> None:
        """Ignore late decisions of earlier controllers or schedulers, because a new one leads."""
        self._stale(message.service, message.term)

    def _stale(self, service: str, term: int) -> bool:
        if term < self._terms[service]:
            return True
        self._terms[service] = term
        return False

    def _fits(self, check: Callable[[HostJob, Any], None], job: HostJob, given: Any) -> bool:
        """Return whether an order fits the graph of its job. One that does not is counted and ignored."""
        try:
            check(job, given)
        except ValueError:
            self.impossible += 1
            return False
        return True

    # --- the end of jobs ----------------------------------------------------------------------------------------------

    def end(self, message: Ended) -> None:
        """End a job: drop its chains and datasets, and tell its runners."""
        if self._stale("controller", message.term):
            return
        self._known.over[message.job] = None
        if len(self._known.over) > self._known.remembered:
            del self._known.over[next(iter(self._known.over))]
        self._peers.job_ended(message.job)
        job = self._known.by_name.get(message.job)
        if job is None or job.ended:
            return
        job.ended = message.state
        executing = self._drop_chains(job) if job.n_live else set()
        job.chains.clear()
        self._datasets.drop_job(job, keep_outputs=message.state == "done")
        for slot in job.runners:
            runner, number = self._runners.slots[slot], job.number
            awaited = slot in executing or self._grants.has_orphans(runner) or self._runners.holds_resources(slot, number)
            if message.state == "done" and not awaited:
                runner.closing.append(number)
            else:
                self._actions.append(ToRunner(slot, protocol.CloseJob(number)))
        if not job.entries:
            self.forget(job)

    def _drop_chains(self, job: HostJob) -> set[int]:
        """Forget the chains of a job that is over. Return the slots of the runners that execute its tasks."""
        executing = self._doom_runners(job)
        for segment in (segment for chain in job.live_chains() for segment in chain.segments):
            segment.over = True
        self._runners.drop_job(job)
        job.n_live = 0
        return executing

    def _doom_runners(self, job: HostJob) -> set[int]:
        """Give each runner that executes a task of an ended job some time to finish it, and no other work. Return their slots."""
        slots = {runner.slot for runner in self._runners.slots if any(segment.chain.job is job for segment in runner.outstanding.values())}
        for slot in slots:
            self._runners.slots[slot].unclosed.add(job.number)
        self._known.doomed.update(((slot, job.number), self._runners.now) for slot in slots)
        return slots

    def log_rewound(self, unknown: Iterable[str]) -> None:
        """Cancel the jobs that went with the last messages of the log, and accept lower terms again.

        unknown: the jobs that are not in the log any more. New leaders may get the lost terms once more.
        """
        self._terms.update(dict.fromkeys(self._terms, 0))
        for job in unknown:
            self.end(Ended(at=0, term=0, job=job, state="cancelled"))

    def fail_job(self, name: str, text: str) -> None:
        """Report that a job failed, because this host's state of the job may be wrong.

        The job ends here when the log says so, like any other job.
        """
        job = self._known.by_name.get(name)
        if job is None or job.ended:
            return
        task, attempt = self._unfinished(job)
        error = TaskError(task=task, attempt=attempt, reason="internal", name=task_name(job.spec, task), error=f"host {self._host}: {text}")
        job.report.failed(error)
        self._counts.failed(error.reason)

    @staticmethod
    def _unfinished(job: HostJob) -> tuple[int, int]:
        """Return a task of a job that this host has not finished, and its attempt; the job's last task if there is none."""
        for chain in job.live_chains():
            for segment in chain.segments:
                if not segment.over:
                    return segment.tasks[0], chain.attempts.get(segment.tasks[0], 0)
        return job.spec.n_tasks - 1, job.attempts.get(job.spec.n_tasks - 1, 0)

    def forget(self, job: HostJob) -> None:
        """Forget a job that is over and has no datasets here."""
        if job.has_sinks:
            self._known.forgotten[job.number] = job.name
            if len(self._known.forgotten) > self._known.remembered:
                del self._known.forgotten[next(iter(self._known.forgotten))]
        del self._known.by_name[job.name]
        del self._known.by_number[job.number]
        self._news.pop(job.name, None)

    # --- hosts --------------------------------------------------------------------------------------------------------

    def host_lost(self, message: HostLost) -> None:
        """Note that a host was lost: this one, or another one, from which this host expects nothing more."""
        if message.host == self._host:
            self._lost_epoch = max(self._lost_epoch, message.epoch if message.cut else 0)
        else:
            self._sources.host_lost(message.host, message.epoch, message.at)

    @property
    def expelled(self) -> bool:
        """Whether the log says that other hosts cannot reach this one, so that its work in this epoch does not count."""
        return self._lost_epoch >= self._known.epoch

    def host_joined(self, message: HostJoined) -> None:
        """Note that a host has joined the cluster."""
        if message.host != self._host:
            self._sources.host_joined(message.host, message.epoch, again=message.again)

    def begin_again(self) -> None:
        """Drop the assignment that is being taken in, because a new epoch begins."""
        self.assigned = None
