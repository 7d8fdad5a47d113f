"""Runners at work: what they say, what they are sent, and what follows when one dies."""

from __future__ import annotations

import pytest

from headrace.runner import protocol
from headrace.runner.protocol import NO_ROOM_YET
from headrace.worker.agent.actions import KillRunner, Report, ToRunner
from headrace.worker.agent.chains import Chains
from headrace.worker.agent.dispatch import Dispatcher
from headrace.worker.agent.execution import Execution
from headrace.worker.agent.failures import MemoryShortage
from headrace.worker.agent.jobs import Segment
from headrace.worker.agent.known import KnownJobs
from headrace.worker.agent.metrics import Counts
from headrace.worker.settings import Settings
from headrace_schemas import Events, Written
from headrace_shm.allocator import PAGE
from tests.unit.worker_parts import NAME, Parts, job_of, segment_of

SETTINGS = Settings(host="h0", runners=1, unknown_seconds=0.001)


class Alone(Parts):
    """A host with one runner, and a job whose task 1 takes what task 0 makes."""

    def __init__(self) -> None:
        super().__init__()
        self.runners = Dispatcher(SETTINGS, self.datasets.prepare, self.datasets.may_park, lambda: True)
        self.known = KnownJobs(1, 10)
        chains = Chains(self.known, self.datasets, self.runners, Counts(), self.actions)
        self.execution = Execution(self.known, chains, self.datasets, self.memory, self.runners, self.actions, SETTINGS)
        self.job = job_of([[], [0], []])
        self.known.by_name[NAME] = self.known.by_number[1] = self.job
        self.execution.runner_started(0)

    def give(self, *tasks: int) -> list[Segment]:
        """The runner is sent these tasks."""
        segments = [segment_of(self.job, task) for task in tasks]
        self.datasets.use(self.job, segments)
        self.runners.ready([segment for segment in segments if not segment.missing])
        self.runners.fill(None)
        self.execution.send_batches()
        return segments

    def told(self) -> Events:
        """What the log is told."""
        (events,) = self.job.report.take(0)
        return events


@pytest.fixture
def host() -> Alone:
    return Alone()


def test_a_runner_is_sent_the_graph_before_its_first_tasks(host):
    host.give(0)
    opened, run = [action.frame for action in host.decided() if isinstance(action, ToRunner)]
    assert isinstance(opened, protocol.OpenJob)
    assert (run.segments, run.tasks) == ([0], [0])
    host.give(2)
    assert [type(action.frame) for action in host.decided()] == [protocol.Run]


def test_a_small_result_makes_its_successor_ready(host):
    host.give(0, 1)
    host.execution.results(0, protocol.Results(1, segments=[0], datasets=[0], values=[b"zero"]))
    assert host.runners.has_ready
    events = host.told()
    assert (events.chains, events.value_ids) == ([0], [0]), "it is an output, too"


def test_a_large_result_is_written_to_the_memory_that_was_granted(host):
    host.give(0)
    host.decided()
    host.execution.allocate(0, protocol.Allocate(1, 0, PAGE, 0))
    (grant,) = [action.frame for action in host.decided()]
    host.execution.results(0, protocol.Results(1, segments=[0], datasets=[0], values=[grant.block]))
    assert host.job.entries[0].block.id == grant.block
    assert host.told().sizes == [PAGE]


def test_a_result_that_waits_for_memory_keeps_its_runner_from_counting_as_busy(host):
    host.store.allocate(-1, 4 * PAGE, "other")
    host.give(0)
    host.decided()
    host.execution.allocate(0, protocol.Allocate(1, 0, PAGE, 0))
    assert host.decided() == [ToRunner(0, protocol.Grant(1, 0, 0, NO_ROOM_YET))]
    assert not host.runners.slots[0].busy


@pytest.mark.parametrize("frame", [protocol.Results(1, segments=[0], datasets=[9], values=[b""]), protocol.Results(1, segments=[5])])
def test_a_runner_may_not_speak_of_what_it_was_not_sent(host, frame):
    host.give(0)
    if frame.datasets:
        with pytest.raises(ValueError):
            host.execution.results(0, frame)
    else:
        host.execution.results(0, frame)
        assert host.job.n_live == 1


def test_the_task_under_which_a_runner_died_fails_and_the_others_run_again(host):
    first, second = host.give(0, 2)
    host.execution.runner_died(0, (1, 0), -9, pid=77)
    (error,) = host.told().failed
    assert (error.task, error.reason, error.pid) == (0, "runner_died", 77)
    assert (first.over, second.over, host.runners.has_ready) == (True, False, True)


def test_a_runner_killed_for_memory_is_reported_with_the_numbers(host):
    host.give(0)
    host.execution.runner_died(0, (1, 0), -9, 77, MemoryShortage(5 << 30, 4 << 30))
    (error,) = host.told().failed
    assert (error.reason, error.memory, error.limit) == ("out_of_memory", 5 << 30, 4 << 30)


def test_a_task_is_reported_as_started_once(host):
    host.give(0)
    for _ in range(2):
        host.execution.executing([(1, 0)])
        host.execution.executing([(1, 99)])
    assert host.told().started == [0]


def test_a_runner_that_goes_on_with_a_job_that_is_over_is_killed_after_a_while(host):
    host.known.doomed[0, 1] = 10.0
    host.execution.end_doomed(10.0, [(1, 0)])
    assert host.decided() == []
    host.execution.end_doomed(10.0 + SETTINGS.grace_seconds + SETTINGS.crowded_grace_seconds, [(1, 0)])
    assert (host.decided(), host.known.doomed) == ([KillRunner(0)], {})


def test_a_kill_that_failed_is_tried_again_once(host):
    host.execution.kill_again(0)
    assert [host.execution.kills_at_tick(), host.execution.kills_at_tick()] == [[KillRunner(0)], []]


def test_files_written_for_a_job_that_is_forgotten_are_reported_for_removal(host):
    host.known.forgotten[9] = "old"
    written = Written(dataset=0, part="p", location="l", bytes=1, checksum="sha256:0", encoding="npy")
    host.execution.results(0, protocol.Results(9, written=[written]))
    assert host.decided() == [Report(Events(job="old", host="h0", epoch=1, written=[written]))]
