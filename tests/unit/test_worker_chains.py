"""Chains that do not end as planned: they fail, are given back, or are recalled."""

from __future__ import annotations

import pytest

from headrace.runner import protocol
from headrace.worker.agent.actions import Recall, ToRunner
from headrace.worker.agent.chains import Chains
from headrace.worker.agent.dispatch import Dispatcher
from headrace.worker.agent.jobs import Segment
from headrace.worker.agent.known import KnownJobs
from headrace.worker.agent.metrics import Counts
from headrace.worker.settings import Settings
from headrace_schemas import Events, TaskError
from tests.unit.worker_parts import NAME, Parts, job_of, segment_of


class Alone(Parts):
    """A host with one runner, and a job whose task 1 takes what task 0 makes."""

    def __init__(self) -> None:
        super().__init__()
        self.runners = Dispatcher(
            Settings(host="h0", runners=1, unknown_seconds=0.001), self.datasets.prepare, self.datasets.may_park, lambda: True
        )
        self.known, self.counts = KnownJobs(1, 10), Counts()
        self.chains = Chains(self.known, self.datasets, self.runners, self.counts, self.actions)
        self.job = job_of([[], [0], []])
        self.known.by_name[NAME] = self.known.by_number[1] = self.job

    def at_runner(self, *tasks: int) -> list[Segment]:
        """The runner has these tasks, and has begun none of them."""
        segments = [segment_of(self.job, task) for task in tasks]
        self.runners.runner_started(0)
        self.runners.ready(segments)
        self.runners.fill(None)
        for runner, _, batch in self.runners.batches():
            runner.number(batch)
        return segments

    def told(self) -> Events:
        """What the log is told."""
        (events,) = self.job.report.take(0)
        return events


@pytest.fixture
def host() -> Alone:
    return Alone()


def test_a_chain_ends_with_a_task_that_fails(host):
    segment = segment_of(host.job, 1)
    host.datasets.use(host.job, [segment])
    error = TaskError(task=1, attempt=0, reason="raised", name="f", error="no")
    host.chains.fail(host.job, segment.chain, error)
    assert host.told().failed == [error]
    assert host.counts.failures["raised"] == 1
    assert (segment.over, host.job.n_live, host.job.entries[0].uses) == (True, 0, 0)


def test_tasks_that_wait_for_what_is_not_to_be_had_fail(host):
    segment = segment_of(host.job, 1)
    host.datasets.use(host.job, [segment])
    host.chains.fail_waiters(host.job, host.job.entries[0], "too_large", "does not fit")
    (error,) = host.told().failed
    assert (error.task, error.reason, error.error) == (1, "too_large", "does not fit")


def test_a_chain_that_is_given_back_is_reported(host):
    segment = segment_of(host.job, 0)
    host.chains.give_back(segment.chain)
    assert host.told().revoked == [0]
    assert host.job.chains == {0: None}


def test_segments_that_never_reached_their_runner_fail_as_if_it_had_died(host):
    (segment,) = host.at_runner(0)
    host.chains.fail_segments(0, 1, [segment.id, 99], "no socket")
    (error,) = host.told().failed
    assert (error.task, error.reason, error.error) == (0, "runner_died", "no socket")


def test_what_a_runner_has_not_begun_can_run_again(host):
    first, second = host.at_runner(0, 2)
    host.chains.recall(host.runners.slots[0])
    host.chains.recall(host.runners.slots[0])
    assert host.decided() == [Recall(0, 1)], "one at a time"
    host.chains.recalled(0, 1, begun=1)
    assert host.decided() == [ToRunner(0, protocol.Recall(1, [second.id]))]
    assert list(host.runners.slots[0].outstanding) == [first.id]
    assert host.runners.has_ready


def test_a_recalled_chain_goes_back_to_the_scheduler_if_it_asked(host):
    _, second = host.at_runner(0, 2)
    second.chain.asked_back = True
    host.chains.recall(host.runners.slots[0])
    host.chains.recalled(0, 1, begun=1)
    assert host.told().revoked == [2]


def test_an_answer_to_an_earlier_recall_is_ignored(host):
    host.at_runner(0, 2)
    host.chains.recall(host.runners.slots[0])
    host.decided()
    host.chains.recalled(0, 7, begun=0)
    assert host.decided() == []
