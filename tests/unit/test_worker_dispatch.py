"""The dispatcher alone: which runner gets which segment, and what becomes of it."""

from __future__ import annotations

import math

import pytest

from headrace.worker.agent.dispatch import Dispatcher
from headrace.worker.agent.jobs import Chain, HostJob, Segment
from headrace.worker.settings import Settings
from tests.unit.worker_parts import job_of, segment_of

LONG = Settings(host="h0").queue_seconds


class Host:
    """A dispatcher with runners, of which none has anything, and a job of tasks without inputs."""

    def __init__(self, runners: int = 1, tasks: int = 4, seconds: float | None = 0.001) -> None:
        self.unprepared: set[int] = set()
        """Tasks whose inputs are on disk."""
        self.dispatcher = Dispatcher(
            Settings(host="h0", runners=runners), lambda segment: segment.tasks[0] not in self.unprepared, lambda: True, lambda: False
        )
        for slot in range(runners):
            self.dispatcher.runner_started(slot)
        self.job: HostJob = job_of([[] for _ in range(tasks)])
        if seconds is not None:
            self.job.learn(0, seconds)
        self.segments = [segment_of(self.job, task) for task in range(tasks)]

    def filled(self, *tasks: int) -> list[tuple[int, list[int]]]:
        """These tasks are ready: what each runner gets."""
        self.dispatcher.ready([self.segments[task] for task in tasks])
        self.dispatcher.fill(None)
        return self.batches()

    def batches(self) -> list[tuple[int, list[int]]]:
        return [(runner.slot, [segment.tasks[0] for segment in segments]) for runner, _, segments in self.dispatcher.batches()]

    def ended(self, slot: int, *tasks: int) -> list[Segment]:
        return self.dispatcher.ended(slot, self.job, [self.segments[task].id for task in tasks])


def test_short_tasks_go_out_together_in_plan_order() -> None:
    assert Host().filled(2, 0, 3, 1) == [(0, [0, 1, 2, 3])]


def test_a_chain_that_is_assigned_later_runs_at_its_position_in_the_plan() -> None:
    """The retry of the first task, a chain with a higher id, comes before the tasks that follow."""
    host = Host(seconds=None, tasks=5)
    assert host.filled(0, 1, 2, 3) == [(0, [0])]
    host.ended(0, 0)
    retry = Chain(host.job, 4, {0: 1}, 0)
    retry.segments = (Segment(4, retry, 0, [0], [1], ()),)
    host.dispatcher.ready([retry.segments[0]])
    host.dispatcher.fill(None)
    assert host.batches() == [(0, [0])]


def test_nothing_is_put_behind_a_task_that_may_take_long() -> None:
    host = Host(seconds=None)
    assert host.filled(0, 1) == [(0, [0])]
    assert host.dispatcher.crowded
    assert host.ended(0, 0) == [host.segments[0]]
    assert host.filled() == [(0, [1])]
    assert not host.dispatcher.crowded


def test_runners_share_what_is_ready() -> None:
    assert Host(runners=2).filled(0, 1, 2, 3) == [(0, [0, 3]), (1, [1, 2])]


def test_a_runner_gets_only_what_it_will_begin_soon() -> None:
    host = Host(seconds=0.6 * LONG)
    assert host.filled(0, 1, 2, 3) == [(0, [0, 1])]


def test_a_runner_that_has_not_started_gets_nothing() -> None:
    host = Host()
    assert host.dispatcher.runner_died(0) == []
    assert host.filled(0) == []
    host.dispatcher.runner_started(0)
    assert host.filled() == [(0, [0])]


def test_a_runner_that_dies_leaves_what_it_had_oldest_first() -> None:
    host = Host()
    host.filled(0, 1)
    assert host.dispatcher.runner_died(0) == host.segments[:2]
    assert host.dispatcher.slots[0].predicted == 0.0
    assert not host.dispatcher.slots[0].busy


def test_a_segment_that_is_over_before_it_is_sent_is_not_sent() -> None:
    host = Host()
    host.dispatcher.ready(host.segments[:2])
    host.dispatcher.fill(None)
    host.segments[0].over = True
    assert host.batches() == [(0, [1])]
    assert host.batches() == []
    assert not host.dispatcher.batched


def test_the_end_of_what_a_runner_does_not_have_is_ignored() -> None:
    host = Host(runners=2)
    host.filled(0)
    assert host.ended(1, 0) == []
    assert host.dispatcher.ended(0, job_of([[]]), [host.segments[0].id]) == []
    assert host.ended(0, 0, 0) == [host.segments[0]]


def test_under_pressure_only_what_is_allowed_starts() -> None:
    host = Host()
    host.dispatcher.ready(host.segments)
    host.dispatcher.fill(lambda segment: segment.tasks[0] == 2)
    assert host.batches() == [(0, [2])]
    host.dispatcher.fill(None)
    assert host.batches() == [(0, [0, 1, 3])]


def test_what_is_on_disk_becomes_ready_again_when_it_is_back() -> None:
    host = Host()
    host.unprepared.add(0)
    assert host.filled(0, 1) == [(0, [1])]
    host.unprepared.clear()
    assert host.filled(0) == [(0, [0])]


def test_a_segment_that_waits_for_room_makes_room_for_others() -> None:
    host = Host(seconds=2 * LONG)
    assert host.filled(0, 1) == [(0, [0])]
    host.dispatcher.defer(0, host.segments[0])
    assert host.dispatcher.idle
    assert host.filled() == [(0, [1])]
    assert host.ended(0, 0) == [host.segments[0]]
    assert host.dispatcher.slots[0].deferred == set()


def test_a_chain_goes_on_at_the_runner_that_has_begun_it() -> None:
    host = Host(runners=2, tasks=2)
    chain = Chain(host.job, 7, {}, 7)
    chain.segments = tuple(Segment(70 + place, chain, place, [place], [1], ()) for place in range(2))
    chain.segments[1].missing = 1
    host.dispatcher.ready([chain.segments[0]])
    host.dispatcher.fill(None)
    assert host.batches() == [(0, [0])]
    assert host.dispatcher.slots[0].kept == {chain}
    host.dispatcher.ended(0, host.job, [70])
    chain.segments[1].missing = 0
    host.dispatcher.ready([chain.segments[1]])
    assert host.batches() == [(0, [1])]
    assert host.dispatcher.slots[0].kept == set()


def test_a_job_that_is_over_is_dropped_from_all_runners() -> None:
    host = Host(runners=2)
    host.filled(0, 1)
    host.dispatcher.drop_job(host.job)
    assert [runner.outstanding for runner in host.dispatcher.slots] == [{}, {}]


def test_a_runner_that_takes_longer_than_thought_is_told_of_once_and_gets_nothing() -> None:
    host = Host()
    host.filled(0, 1)
    due = host.dispatcher.next_look()
    assert 0.0 < due < math.inf
    host.dispatcher.now = due + 1.0
    assert host.dispatcher.overdue() == [host.dispatcher.slots[0]]
    assert host.dispatcher.overdue() == []
    assert host.filled(2) == []
    host.ended(0, 0)
    assert host.filled() == [(0, [2])]


def test_a_recall_brings_back_what_a_runner_has_not_begun() -> None:
    host = Host(runners=2)
    host.dispatcher.runner_died(1)
    host.filled(0, 1, 2)
    runner = host.dispatcher.slots[0]
    runner.number(host.segments[:3])
    host.dispatcher.runner_started(1)
    host.dispatcher.now = host.dispatcher.next_look() + 1.0
    assert host.dispatcher.to_recall() == [runner]
    number = host.dispatcher.recall(runner)
    assert host.dispatcher.to_recall() == []
    taken = host.dispatcher.recalled(runner, begun=1)
    assert (number, [segments for _, segments in taken]) == (1, [[host.segments[1]], [host.segments[2]]])
    assert list(runner.outstanding.values()) == [host.segments[0]]


@pytest.mark.parametrize(("number", "recalling"), [(1, False), (7, True)])
def test_a_recall_that_did_not_reach_its_runner_is_over(number: int, recalling: bool) -> None:
    host = Host()
    host.filled(0, 1)
    assert host.dispatcher.recall(host.dispatcher.slots[0]) == 1
    host.dispatcher.not_recalled(0, number)
    assert host.dispatcher.slots[0].recalling is recalling
