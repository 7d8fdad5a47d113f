"""Chains that end early: a task fails, the chain is given back to the scheduler, or a runner returns it before it began it."""

from __future__ import annotations

from headrace.runner import protocol
from headrace.worker.agent.actions import Action, Recall, ToRunner
from headrace.worker.agent.datasets import Datasets
from headrace.worker.agent.dispatch import Dispatcher
from headrace.worker.agent.failures import not_executed
from headrace.worker.agent.jobs import Chain, Entry, HostJob
from headrace.worker.agent.known import KnownJobs
from headrace.worker.agent.metrics import Counts
from headrace.worker.agent.slots import RunnerSlot
from headrace_schemas import TaskError


class Chains:
    """Ends chains that do not end as planned. Appends actions to the list it was given."""

    def __init__(self, known: KnownJobs, datasets: Datasets, runners: Dispatcher, counts: Counts, actions: list[Action]) -> None:
        self._known = known
        self._datasets = datasets
        self._runners = runners
        self._counts = counts
        self._actions = actions

    def fail_task(self, job: HostJob, error: TaskError) -> None:
        """Report that a task failed, although its chain may be over here."""
        job.report.failed(error)
        self._counts.failed(error.reason)

    def fail_segments(self, slot: int, number: int, ids: list[int], text: str) -> None:
        """Fail the first tasks of segments that could not be sent to their runner, as if the runner had died."""
        job, outstanding = self._known.by_number.get(number), self._runners.slots[slot].outstanding
        for segment in [outstanding[id] for id in ids if id in outstanding]:
            if segment.chain.job is job and not segment.over:
                task = segment.tasks[0]
                self.fail(job, segment.chain, not_executed(job, segment.chain, task, "runner_died", text))

    def fail_waiters(self, job: HostJob, entry: Entry, reason: str, text: str) -> None:
        """Fail the tasks that wait for a dataset that this host cannot get."""
        for segment in list(entry.waiters):
            if not segment.over:
                self.fail(job, segment.chain, not_executed(job, segment.chain, segment.tasks[0], reason, text))

    def fail(self, job: HostJob, chain: Chain, error: TaskError) -> None:
        """Report that a task failed, and drop its chain. The controller decides which tasks of the chain run again."""
        job.report.failed(error)
        self._counts.failed(error.reason)
        self.drop(chain)

    def drop(self, chain: Chain) -> None:
        """Forget the segments of a chain that are not over."""
        job, dropped = chain.job, [segment for segment in chain.segments if not segment.over]
        for segment in dropped:
            segment.over = True
        self._datasets.unuse(job, dropped)
        if chain.slot >= 0:
            self._runners.ended(chain.slot, job, [segment.id for segment in dropped])
            self._runners.slots[chain.slot].kept.discard(chain)
        job.close(chain)

    def give_back(self, chain: Chain) -> None:
        """Return a chain to the scheduler, which places it again."""
        chain.job.report.revoked(chain.id)
        self.drop(chain)

    # --- recalls ------------------------------------------------------------------------------------------------------

    def recall(self, runner: RunnerSlot) -> None:
        """Take back the segments that a runner has not begun."""
        if not runner.recalling:
            self._actions.append(Recall(runner.slot, self._runners.recall(runner)))

    def recalled(self, slot: int, number: int, begun: int) -> None:
        """Take back what a recalled runner has not begun. It goes to other runners or, if the scheduler asked for it, to other hosts.

        begun: the number of the segment that the runner began last.
        """
        runner = self._runners.slots[slot]
        if not runner.recalling or runner.recalls != number:
            return  # the recall was of an earlier process in this slot
        taken = self._runners.recalled(runner, begun)
        self._actions.append(ToRunner(slot, protocol.Recall(number, [segment.id for _, segments in taken for segment in segments])))
        for chain, segments in taken:
            self._datasets.unpin(segments)
            if chain.asked_back:
                self.give_back(chain)
            else:
                self._runners.ready([chain.segments[0]])
