"""What becomes of exceptions that the host's state machine raises: the host goes on, and the job that is concerned fails."""

from __future__ import annotations

from typing import NoReturn

import pytest

from headrace.worker.agent import actions
from headrace.worker.agent.guard import Guard
from headrace.worker.agent.intake import Intake
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, GraphSource, Purge, TaskError
from headrace_shm import Store
from tests.unit.worker_world import EPOCH, graph_of


def fail(*_: object) -> NoReturn:
    raise KeyError("a mistake")


def host(part_chains: int = 256) -> tuple[Agent, Guard, Intake]:
    agent = Agent(Settings(host="h0", part_chains=part_chains), EPOCH, Store(1 << 20, 1 << 23))
    agent.execution.runner_started(0)
    guard = Guard(agent.assignments.fail_job, agent.settings.failures_in_a_row)
    return agent, guard, Intake(agent, guard)


def assign(job: str, tasks: list[int]) -> Assign:
    return Assign(
        at=1, term=1, job=job, host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=tasks,
        lengths=[1] * len(tasks), tasks=tasks, graph=GraphSource(inline=graph_of([[] for _ in tasks], tasks)),
    )  # fmt: skip


def purge(job: str) -> Purge:
    return Purge(at=1, term=1, job=job, host="h0", epoch=EPOCH, datasets=[0])


def failed(agent: Agent) -> list[tuple[str, TaskError]]:
    events = [action.events for action in agent.reporting.due() if isinstance(action, actions.Report)]
    return [(each.job, error) for each in events for error in each.failed]


def test_a_message_that_raises_fails_its_job_and_those_behind_it_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, guard, intake = host()
    intake.hear([assign("one", [0])])
    with monkeypatch.context() as patch:
        patch.setattr(agent.datasets, "purge", fail)
        intake.hear([purge("one"), assign("two", [0])])
    [(job, error)] = failed(agent)
    assert (job, error.task, error.reason) == ("one", 0, "internal")
    assert "KeyError: 'a mistake'" in error.error
    assert "host h0" in error.error
    assert guard.failures == {"a message of the log": 1}
    assert set(agent.jobs) == {"one", "two"}


def test_an_assignment_that_raises_in_the_middle_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, guard, intake = host(part_chains=1)
    intake.hear([assign("one", [0, 1, 2]), assign("two", [0])])
    with monkeypatch.context() as patch:
        patch.setattr(agent.datasets, "use", fail)
        intake.go_on()
    assert next(job for job, _ in failed(agent)) == "one"
    while intake.busy:
        intake.go_on()
    assert set(agent.jobs) == {"one", "two"}
    assert guard.failures["a message of the log"] >= 1


def test_a_job_that_is_over_or_not_known_is_not_failed() -> None:
    agent, guard, intake = host()
    intake.hear([assign("one", [0]), Ended(at=1, term=1, job="one", state="done")])
    for job in ("one", "another"):
        guard.tell("an event", fail, job)
    assert failed(agent) == []
    assert guard.failures == {"an event": 2}


def test_a_task_that_is_not_done_is_named() -> None:
    agent, guard, intake = host()
    intake.hear([assign("one", [0, 1])])
    intake.go_on()
    agent.jobs["one"].close(agent.jobs["one"].live_chains()[0])
    guard.tell("an event", fail, "one")
    assert [error.task for _, error in failed(agent)] == [1]


def test_a_machine_that_only_fails_is_broken() -> None:
    guard = Guard(fail, 20)
    for _ in range(20 - 1):
        guard.tell("time passed", fail)
    guard.tell("something else", lambda: None)
    assert not guard.broken
    guard.tell("time passed", lambda: None)
    guard.tell("time passed", fail)
    assert not guard.broken
    for _ in range(20):
        guard.tell("time passed", fail)
    assert guard.broken


def test_a_job_that_cannot_even_be_failed_ends_nothing() -> None:
    guard = Guard(fail, 20)
    guard.tell("an event", fail, "job")
    assert guard.failures == {"an event": 1}


def test_without_a_guard_what_the_agent_raises_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, _, _ = host()
    intake = Intake(agent)
    monkeypatch.setattr(agent.assignments, "assign", fail)
    with pytest.raises(KeyError):
        intake.hear([assign("one", [0])])
