"""The agent's side of its runners: grants of memory for results, results, and new runs of a dead runner's tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from headrace.runner import protocol
from headrace.runner.protocol import NO_ROOM_YET
from headrace.worker.agent.actions import Action, KillRunner, Report, ToRunner
from headrace.worker.agent.chains import Chains
from headrace.worker.agent.checks import check_allocate, check_allocate_slab, check_fits, check_released, check_results
from headrace.worker.agent.datasets import Datasets
from headrace.worker.agent.dispatch import Dispatcher
from headrace.worker.agent.failures import MemoryShortage, killed_under
from headrace.worker.agent.jobs import HostJob, Segment
from headrace.worker.agent.known import KnownJobs
from headrace.worker.agent.memory import Claim, Claimant, Memory
from headrace.worker.agent.run_frames import run_frame
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.settings import Settings
from headrace_schemas import Events


class Execution:
    """The runners of a host at work. Appends actions to the list it was given."""

    def __init__(
        self,
        known: KnownJobs,
        chains: Chains,
        datasets: Datasets,
        memory: Memory,
        runners: Dispatcher,
        actions: list[Action],
        settings: Settings,
    ) -> None:
        self._known = known
        self._chains = chains
        self._datasets = datasets
        self._memory = memory
        self._grants = memory.grants
        self._runners = runners
        self._actions = actions
        self._settings = settings
        self._host = settings.host
        self._alive_after_kill: set[int] = set()
        """Slots whose runners could not be killed."""
        self.handlers: dict[type[protocol.ToAgent], Callable[[int, Any], None]] = {
            protocol.Results: self.results,
            protocol.Allocate: self.allocate,
            protocol.AllocateSlab: self.allocate_slab,
            protocol.Closed: self.closed,
            protocol.Released: self.released,
        }
        """The method that handles each kind of frame from a runner."""

    # --- from runners -------------------------------------------------------------------------------------------------

    def runner_started(self, slot: int) -> None:
        """Note that the runner in a slot is ready for work."""
        self._runners.runner_started(slot)

    def allocate(self, slot: int, frame: protocol.Allocate) -> None:
        """Answer a runner that asks for memory for a result. Raises ValueError if the request is not allowed."""
        job, runner = self._known.by_number.get(frame.job), self._runners.slots[slot]
        segment = runner.outstanding.get(frame.segment)
        if job is None or segment is None or segment.over:
            self._actions.append(ToRunner(slot, protocol.Grant(frame.job, frame.dataset, 0, NO_ROOM_YET)))
            return
        check_allocate(job, segment, frame)
        who = Claimant(slot=slot, generation=runner.generation, segment=segment.id)
        if not self._memory.claim(Claim(segment.chain.order, 0, job, frame.dataset, frame.nbytes, who)):
            self._runners.defer(slot, segment)

    def allocate_slab(self, slot: int, frame: protocol.AllocateSlab) -> None:
        """Answer a runner that asks for memory for an array that a task fills. Raises ValueError if the request is not allowed."""
        check_allocate_slab(frame)
        self._memory.grant_slab(self._runners.slots[slot], frame.nbytes)

    def slab_refused(self, slot: int, block: int, memory: int | None) -> None:
        """Drop a slab that shared memory has no room for. memory: the bytes that the arena has, if its folder is full."""
        self._grants.slabs.drop(self._runners.slots[slot].client, block)
        if memory is not None:
            self._memory.shortage.found(memory, self._runners.now)

    def unbacked(self, slot: int, grant: protocol.Grant, memory: int) -> None:
        """Let a result wait for memory, because shared memory is full. memory: the bytes that the arena has."""
        job = self._known.by_number.get(grant.job)
        entry = job.entries.get(grant.dataset) if job is not None else None
        if entry is None or entry.claim is None:
            self._actions.append(ToRunner(slot, protocol.Grant(grant.job, grant.dataset, 0, NO_ROOM_YET)))
            return
        segment = self._runners.slots[slot].outstanding.get(entry.claim.who.segment)
        if self._memory.unbacked(entry, memory):
            self._actions.append(ToRunner(slot, protocol.Grant(grant.job, grant.dataset, 0, NO_ROOM_YET)))
        if segment is not None:
            self._runners.defer(slot, segment)

    def closed(self, slot: int, frame: protocol.Closed) -> None:
        """Note that a runner executes nothing and writes nothing for an ended job any more."""
        self._grants.closed(self._runners.slots[slot], frame.job)
        self._runners.closed(slot, frame.job)

    def released(self, slot: int, frame: protocol.Released) -> None:
        """Release the views that a runner dropped. Raises ValueError if the frame makes no sense."""
        check_released(frame)
        client = self._runners.slots[slot].client
        for block, count in zip(frame.blocks, frame.counts, strict=True):
            if self._memory.store.release(block, client, count) or self._grants.slabs.drop(client, block):
                self._grants.progress += 1

    def results(self, slot: int, frame: protocol.Results) -> None:
        """Take in a runner's results. Raises ValueError if a result is not allowed, before any of them is taken in."""
        job = self._known.by_number.get(frame.job)
        self._runners.heard(frame.segments, frame.failed_segments)
        for value in frame.values:
            if isinstance(value, int):
                self._grants.written(self._runners.slots[slot], value)
        if job is None or job.ended:
            self._grants.drop_slabs(self._runners.slots[slot], frame.values)
            self._late(job, frame)
            return
        check_results(job, self._runners.slots[slot].outstanding, frame)
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
                self._runners.learned(job)
            job.timings[function].add(total, count, longest)
        job.report.profile(frame)
        if frame.failed:
            for id, error in zip(frame.failed_segments, frame.failed, strict=True):
                for segment in self._runners.ended(slot, job, [id]):
                    self._chains.fail(job, segment.chain, error)

    def _late(self, job: HostJob | None, frame: protocol.Results) -> None:
        """Report what a runner wrote to sinks for a job that is over, so that it is deleted there."""
        name = job.name if job is not None else self._known.forgotten.get(frame.job)
        for written in frame.written:
            check_fits(written, "the description of an output in a sink")
        if frame.written and name is not None:
            late = Events(job=name, host=self._host, epoch=self._known.epoch, written=frame.written)
            late.metadata_ids, late.metadata = frame.metadata_ids, frame.metadata
            self._actions.append(Report(late))

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
            self._runners.ready(self._datasets.values(job, taken, attempts, made=True))

    def _stored(self, job: HostJob, slot: int, dataset: int, block: int) -> None:
        """Take in a dataset that a runner wrote to a block of the arena."""
        made = self._grants.made(job, dataset, block, self._runners.slots[slot])
        if made is not None:
            attempt = job.attempts.get(job.producer[dataset], 0)
            self._runners.ready(self._datasets.stored(job, dataset, attempt, made))
            job.report.produced(dataset, attempt, made.nbytes, job.is_held[dataset])
        elif dataset not in job.entries or not job.entries[dataset].here:
            job.report.gone(dataset)  # its block was taken back in the meantime

    def _segments_ended(self, job: HostJob, slot: int, ids: list[int]) -> None:
        ended = self._runners.ended(slot, job, ids)
        self._datasets.unuse(job, ended)
        self._grants.progress += len(ended)
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

    def executing(self, tasks: Sequence[tuple[int, int] | None]) -> None:
        """Report each task on the status page as started, once. tasks: (job number, task) for each slot."""
        for item in tasks:
            job = self._known.by_number.get(item[0]) if item is not None else None
            if item is None or job is None or job.ended or item[1] in job.running:
                continue
            if 0 <= item[1] < job.spec.n_tasks:  # a task may have written to the page, which its process maps
                job.running.add(item[1])
                job.report.started(item[1])

    # --- runners that end ---------------------------------------------------------------------------------------------

    def runner_died(self, slot: int, task: tuple[int, int] | None, code: int, pid: int, shortage: MemoryShortage | None = None) -> None:
        """Run a dead runner's segments again, or fail them.

        task: the (job number, task) that it executed. code: its exit code, or the negative signal number. shortage: set if the kernel
        killed the runner because memory ran out.
        """
        runner = self._runners.slots[slot]
        self._memory.drop_claims(slot)
        self._grants.runner_died(runner, (entry for job in self._known.by_name.values() for entry in job.entries.values()))
        for key in [key for key in self._known.doomed if key[0] == slot]:
            del self._known.doomed[key]
        self._alive_after_kill.discard(slot)
        lost = self._runners.runner_died(slot)
        there = {segment.chain for segment in lost}
        for job in list(self._known.by_number.values()):
            job.runners.discard(slot)
            for chain in [chain for chain in job.live_chains() if chain.slot == slot and chain.next and chain not in there]:
                self._chains.give_back(chain)
        for segment in lost:
            if not segment.over:
                self._lost(segment, task, code, pid, shortage)

    def _lost(self, segment: Segment, task: tuple[int, int] | None, code: int, pid: int, shortage: MemoryShortage | None) -> None:
        """Give back, run again or fail a segment whose runner died.

        The task that the runner executed fails. A chain that had begun is given back, because its values were in the runner.
        """
        chain, job = segment.chain, segment.chain.job
        if task is not None and task[0] == job.number and task[1] in segment.tasks:
            error = killed_under(job, task[1], chain.attempts.get(task[1], 0), code, pid)
            self._chains.fail(job, chain, error if shortage is None else shortage.told_in(error, self._host, self._memory.store.used))
        elif chain.ended or segment.place:
            self._chains.give_back(chain)
        else:
            chain.next, chain.slot = 0, -1
            self._runners.ready([segment])

    def kill_again(self, slot: int) -> None:
        """Kill a runner at the next tick, because it could not be killed now."""
        self._alive_after_kill.add(slot)

    def end_doomed(self, now: float, executing: Sequence[tuple[int, int] | None]) -> None:
        """Kill the runners that still execute a task of an ended job after the grace period."""
        grace = self._settings.grace_seconds if self._runners.idle else self._settings.crowded_grace_seconds
        for (slot, number), since in list(self._known.doomed.items()):
            task = executing[slot]
            if task is None or task[0] != number:
                del self._known.doomed[slot, number]
            elif now >= since + grace:
                del self._known.doomed[slot, number]
                self._actions.append(KillRunner(slot))

    # --- to runners ---------------------------------------------------------------------------------------------------

    def send_batches(self) -> None:
        """Send the runners the segments that were handed out to them."""
        for runner, number, segments in self._runners.batches():
            job, slot = self._known.by_number[number], runner.slot
            if slot not in job.runners:
                job.runners.add(slot)
                self._actions.append(ToRunner(slot, self._open_job(job)))
            frame = run_frame(job, segments, runner.number(segments), partial(self._datasets.locate, runner=runner))
            if frame.attempts:
                self._say_started(job, frame)
            self._actions.append(ToRunner(slot, frame))
            self._datasets.dispatched(segments)
            self.close_quietly(runner)

    def _say_started(self, job: HostJob, frame: protocol.Run) -> None:
        """Report retried tasks as started before they start. If this host is then lost, the log names them as a possible cause."""
        for task, attempt in zip(frame.tasks, frame.attempts, strict=True):
            if attempt:
                job.running.add(task)
                job.report.started(task, at_once=True)

    def _open_job(self, job: HostJob) -> protocol.OpenJob:
        """Return the frame that gives a runner a job's graph. Only jobs with sinks need metadata there, for file names."""
        if job.has_sinks:
            return protocol.OpenJob(
                job.number, job.spec, protocol.SinksOfJob(job.name, self._host, self._known.epoch, job.sinks.default), job.name
            )
        lean = msgspec.structs.replace(job.spec, annotated=[], metadata=[], described=[], descriptions=[])
        return protocol.OpenJob(job.number, lean, name=job.name)

    def close_quietly(self, runner: RunnerSlot) -> None:
        """Tell a runner which jobs are over. The frames do not wake it, because it has no task of these jobs."""
        for number in runner.closing:
            self._actions.append(ToRunner(runner.slot, protocol.CloseJob(number, quietly=True)))
        runner.closing.clear()

    def kills_at_tick(self) -> list[Action]:
        """Return the kills to try again."""
        slots, self._alive_after_kill = sorted(self._alive_after_kill), set()
        return [KillRunner(slot) for slot in slots]

    def begin_again(self) -> None:
        """Forget the runners of the last epoch, which have ended."""
        self._known.doomed.clear()
        self._alive_after_kill.clear()
