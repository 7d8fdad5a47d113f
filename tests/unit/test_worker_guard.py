"""What becomes of exceptions that the host's state machine raises: the host goes on, and the job that is concerned fails."""

from __future__ import annotations

from typing import NoReturn

import pytest

from headrace.link import frames
from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.events import AssignmentResumed, BytesSent, Event, LinksDue, LogRead, RunnerSent, RunnerStarted, Tick
from headrace.worker.agent.guard import Caught, Guard
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, GraphSource, Purge, TaskError
from headrace_shm import Store
from tests.unit.worker_world import EPOCH, graph_of

SENT = BytesSent(1, frames.Data("one", 0, 0), 1)
"""An event that names a job."""


def fail(*_: object) -> NoReturn:
    raise KeyError("a mistake")


def host(part_chains: int = 256, guarded: bool = True) -> Agent:
    agent = Agent(Settings(host="h0", part_chains=part_chains), EPOCH, Store(1 << 20, 1 << 23), guarded=guarded)
    agent.handle(RunnerStarted(0))
    return agent


def assign(job: str, tasks: list[int]) -> Assign:
    return Assign(
        at=1, term=1, job=job, host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=tasks,
        lengths=[1] * len(tasks), tasks=tasks, graph=GraphSource(inline=graph_of([[] for _ in tasks], tasks)),
    )  # fmt: skip


def purge(job: str) -> Purge:
    return Purge(at=1, term=1, job=job, host="h0", epoch=EPOCH, datasets=[0])


def failed(agent: Agent) -> list[tuple[str, TaskError]]:
    events = [action.events for action in agent.reports_due() if isinstance(action, actions.Report)]
    return [(each.job, error) for each in events for error in each.failed]


def test_a_message_that_raises_fails_its_job_and_those_behind_it_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = host()
    agent.handle(LogRead([assign("one", [0])]))
    with monkeypatch.context() as patch:
        patch.setattr(agent.datasets, "purge", fail)
        agent.handle(LogRead([purge("one"), assign("two", [0])]))
    [(job, error)] = failed(agent)
    assert (job, error.task, error.reason) == ("one", 0, "internal")
    assert "KeyError: 'a mistake'" in error.error
    assert "host h0" in error.error
    assert agent.guard.failures == {"a message of the log": 1}
    assert set(agent.jobs) == {"one", "two"}


def test_an_assignment_that_raises_in_the_middle_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = host(part_chains=1)
    agent.handle(LogRead([assign("one", [0, 1, 2]), assign("two", [0])]))
    with monkeypatch.context() as patch:
        patch.setattr(agent.datasets, "use", fail)
        agent.handle(AssignmentResumed())
    assert next(job for job, _ in failed(agent)) == "one"
    while agent.intake.busy:
        agent.handle(AssignmentResumed())
    assert set(agent.jobs) == {"one", "two"}
    assert agent.guard.failures["a message of the log"] >= 1


def test_a_job_that_is_over_or_not_known_is_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent := host(), "peers", None)
    agent.handle(SENT)
    agent.handle(LogRead([assign("one", [0]), Ended(at=1, term=1, job="one", state="done")]))
    agent.handle(SENT)
    assert failed(agent) == []
    assert agent.guard.failures == {"bytes were sent": 2}


def test_a_task_that_is_not_done_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent := host(), "peers", None)
    agent.handle(LogRead([assign("one", [0, 1])]))
    agent.jobs["one"].close(agent.jobs["one"].live_chains()[0])
    agent.handle(SENT)
    assert [error.task for _, error in failed(agent)] == [1]


@pytest.mark.parametrize("event", [LinksDue(), Tick(1.0, [None])])
def test_a_machine_that_only_fails_is_broken(monkeypatch: pytest.MonkeyPatch, event: Event) -> None:
    agent = host()

    def fails(times: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(agent, "fetching", None)
            patch.setattr(agent, "sources", None)
            for _ in range(times):
                agent.handle(event)

    fails(agent.settings.failures_in_a_row - 1)
    agent.handle(RunnerStarted(0))
    assert not agent.guard.broken
    agent.handle(event)
    fails(1)
    assert not agent.guard.broken
    fails(agent.settings.failures_in_a_row - 1)
    assert agent.guard.broken


def test_a_decision_that_fails_is_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = host()
    agent.handle(LogRead([assign("one", [0])]))
    with monkeypatch.context() as patch:
        patch.setattr(agent.runners, "fill", fail)
        assert agent.take() == []
    assert agent.guard.in_a_row == {"deciding": 1}
    assert [type(action) for action in agent.take()] == [actions.ToRunner, actions.ToRunner]
    assert agent.guard.in_a_row == {}


def test_what_a_runner_may_not_say_is_no_mistake_of_the_machines() -> None:
    agent = host()
    with pytest.raises(ValueError, match="less than once"):
        agent.handle(RunnerSent(0, [protocol.Released([1], [-1])]))
    assert agent.guard.failures == {}


def test_who_sent_what_the_machine_fails_on_is_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = host()
    agent.handle(LogRead([assign("one", [0]), assign("two", [0])]))
    monkeypatch.setitem(agent.execution.handlers, protocol.Closed, fail)
    number = agent.jobs["two"].number
    with pytest.raises(Caught):
        agent.handle(RunnerSent(0, [protocol.Released([], []), protocol.Closed(number)]))
    assert [job for job, _ in failed(agent)] == ["two"]
    assert agent.guard.failures == {"frames of a runner": 1}


def test_a_job_that_cannot_even_be_failed_ends_nothing() -> None:
    guard = Guard(fail, 20)
    guard.caught("an event", KeyError("a mistake"), "job")
    assert guard.failures == {"an event": 1}


def test_without_a_guard_what_the_machine_raises_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = host(guarded=False)
    monkeypatch.setattr(agent.assignments, "assign", fail)
    with pytest.raises(KeyError):
        agent.handle(LogRead([assign("one", [0])]))
    monkeypatch.setitem(agent.execution.handlers, protocol.Closed, fail)
    with pytest.raises(KeyError):
        agent.handle(RunnerSent(0, [protocol.Closed(1)]))
