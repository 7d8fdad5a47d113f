"""Segments that run alone: nothing else is executed beside them, nobody waits for ever, and the log knows of them before they begin."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.events import LogRead, RunnerDied, RunnerSent, RunnerStarted
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, Events
from headrace_shm import Store
from tests.unit.worker_flags import check_flags
from tests.unit.worker_world import EPOCH, graph_of


class Host:
    """An agent, and what its runners have of independent tasks, oldest first."""

    def __init__(self, runners: int, n_tasks: int, **given: object) -> None:
        self.agent = Agent(Settings(host="h0", runners=runners, **given), EPOCH, Store(1 << 20, 1 << 23))  # type: ignore[arg-type]
        self.has: dict[int, list[tuple[int, int]]] = {slot: [] for slot in range(runners)}
        self.graph = graph_of([[] for _ in range(n_tasks)], list(range(n_tasks)))
        self.done: list[int] = []
        for slot in range(runners):
            self.agent.handle(RunnerStarted(slot))

    def assign(self, tasks: list[int], alone: bool = False, attempt: int = 0) -> None:
        self.agent.assignments.assign(
            Assign(
                at=1, term=1, job="job", host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=tasks,
                lengths=[1] * len(tasks), tasks=tasks, attempts=[attempt] * len(tasks), alone=alone, again=alone,
            ),
            self.graph,
        )  # fmt: skip
        self.take()

    def take(self) -> None:
        check_flags(self.agent)
        for action in self.agent.take():
            if isinstance(action, actions.ToRunner) and isinstance(action.frame, protocol.Run):
                self.has[action.slot] += zip(action.frame.segments, action.frame.tasks, strict=True)

    def end_first(self, slot: int) -> None:
        segment, task = self.has[slot].pop(0)
        self.done.append(task)
        self.agent.handle(RunnerSent(slot, [protocol.Results(1, segments=[segment], datasets=[task], values=[b"x"])]))
        self.take()

    def tasks(self) -> list[list[int]]:
        return [[task for _, task in having] for having in self.has.values()]

    def reported(self) -> list[Events]:
        return [action.events for action in self.agent.reports_due() if isinstance(action, actions.Report)]


def test_one_waits_until_no_runner_executes_anything_and_nothing_starts_before_it_has_ended() -> None:
    host = Host(2, 5)
    host.assign([0, 1])
    host.assign([4], alone=True, attempt=2)
    host.assign([2, 3])
    assert host.tasks() == [[0], [1]]
    host.end_first(0)
    assert host.tasks() == [[], [1]], "it waits, and the runner that is idle gets nothing"
    host.end_first(1)
    assert sorted(host.tasks()) == [[], [4]]
    host.end_first(next(slot for slot, has in host.has.items() if has))
    assert sorted(host.tasks()) == [[2], [3]]


def test_two_run_one_after_the_other() -> None:
    host = Host(2, 2)
    host.assign([0, 1], alone=True, attempt=2)
    assert host.tasks() == [[0], []]
    host.end_first(0)
    assert host.tasks() == [[1], []]


def test_others_go_on_if_the_job_of_one_is_over() -> None:
    host = Host(1, 3)
    host.assign([0])
    host.assign([1], alone=True, attempt=2)
    host.agent.handle(LogRead([Ended(at=2, term=1, job="job", state="cancelled")]))
    host.agent.handle(RunnerSent(0, [protocol.Closed(1)]))
    host.take()
    assert not host.agent.runners._alone


def test_a_retried_task_is_reported_as_started_when_it_is_handed_over_and_again_at_its_next_attempt() -> None:
    host = Host(1, 2)
    host.assign([0], attempt=1)
    assert host.agent.reporting.seconds == host.agent.settings.report_seconds, "at once"
    assert [events.started for events in host.reported()] == [[0]]
    host.agent.handle(RunnerDied(0, (1, 0), -9, 5))
    host.agent.handle(RunnerStarted(0))
    host.reported()
    host.agent.assignments.assign(
        Assign(
            at=2, term=1, job="job", host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=[7], lengths=[1], tasks=[0],
            attempts=[2], again=True,
        ),
        None,
    )  # fmt: skip
    host.take()
    assert [events.started for events in host.reported()] == [[0]]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(1, 30), st.randoms(use_true_random=False))
def test_whatever_ends_first_nothing_runs_beside_one_and_all_are_done(runners: int, n_tasks: int, rng: random.Random) -> None:
    host = Host(runners, n_tasks, unknown_seconds=rng.choice([0.001, 1.0]))
    alone = {task for task in range(n_tasks) if rng.random() < 0.3}
    waiting = list(range(n_tasks))
    while waiting or any(host.has.values()):
        if waiting and rng.random() < 0.4:
            task = waiting.pop(0)
            host.assign([task], alone=task in alone, attempt=2 * (task in alone))
        busy = [slot for slot, has in host.has.items() if has]
        executed = {host.has[slot][0][1] for slot in busy}
        if executed & alone:
            assert len(busy) == 1
            assert len(host.has[busy[0]]) == 1
        if busy and rng.random() < 0.6:
            host.end_first(rng.choice(busy))
    assert sorted(host.done) == list(range(n_tasks))
