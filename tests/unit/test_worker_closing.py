"""When a runner is told that a job is over: with its next work if nothing depends on it, else at once."""

from __future__ import annotations

import pytest

from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.events import HostUnreachable, LinksDue, LogRead, RunnerDied, RunnerSent, RunnerStarted, Tick
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended
from headrace_shm import Store
from tests.unit.worker_world import EPOCH, graph_of


def _agent(**settings: object) -> Agent:
    agent = Agent(Settings(host="h0", runners=1, **settings), EPOCH, Store(1 << 20, 1 << 22))
    agent.handle(RunnerStarted(0))
    return agent


def _sent(agent: Agent) -> list[protocol.ToRunner]:
    return [action.frame for action in agent.take() if isinstance(action, actions.ToRunner)]


def _assign(agent: Agent, job: str) -> None:
    """One task, whose dataset is an output."""
    message = Assign(
        at=1, term=1, job=job, host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=[0], lengths=[1], tasks=[0]
    )  # fmt: skip
    agent.assignments.assign(message, graph_of([[]], [0]))


def _end(agent: Agent, job: str, state: str = "done") -> None:
    agent.handle(LogRead([Ended(at=2, term=1, job=job, state=state)]))


def _executed(agent: Agent, job: str, number: int) -> None:
    _assign(agent, job)
    agent.take()
    agent.handle(RunnerSent(0, [protocol.Results(number, segments=[number], datasets=[0], values=[b"v"])]))
    agent.take()


def test_a_job_that_is_done_is_closed_behind_the_next_work() -> None:
    agent = _agent()
    _executed(agent, "one", 1)
    _end(agent, "one")
    assert _sent(agent) == []
    _assign(agent, "two")
    opened, run, closed = _sent(agent)
    assert isinstance(opened, protocol.OpenJob)
    assert isinstance(run, protocol.Run)
    assert closed == protocol.CloseJob(1, quietly=True)
    agent.handle(Tick(1.0, [None]))
    assert _sent(agent) == []


def test_without_more_work_it_is_closed_at_the_next_tick() -> None:
    agent = _agent()
    for number, job in enumerate(("one", "two"), 1):
        _executed(agent, job, number)
    _end(agent, "one")
    _end(agent, "two")
    agent.handle(Tick(1.0, [None]))
    assert _sent(agent) == [protocol.CloseJob(1, quietly=True), protocol.CloseJob(2, quietly=True)]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_did_not_end_well_is_closed_at_once(state: str) -> None:
    agent = _agent()
    _executed(agent, "one", 1)
    _end(agent, "one", state)
    assert _sent(agent) == [protocol.CloseJob(1)]


def test_a_runner_that_has_something_of_the_job_is_told_at_once() -> None:
    agent = _agent()
    _assign(agent, "one")
    agent.take()
    _end(agent, "one")
    assert _sent(agent) == [protocol.CloseJob(1)]


def test_a_new_runner_is_not_told_of_what_was_over_before() -> None:
    agent = _agent()
    _executed(agent, "one", 1)
    _end(agent, "one")
    agent.handle(RunnerDied(0, None, -9, 1))
    agent.handle(RunnerStarted(0))
    agent.handle(Tick(1.0, [None]))
    assert _sent(agent) == []


def _with_a_chain_that_was_dropped_at_its_runner(**settings: object) -> Agent:
    """The runner has task 0; task 2 behind it in the chain fails, for what it takes from host a can never be had."""
    agent = _agent(give_up_seconds=0, **settings)
    graph = graph_of([[], [], [0, 1]], [2])
    graph.functions[0].resources = {"gpu": 1.0} if settings else {}
    message = Assign(
        at=1, term=1, job="one", host="h0", epoch=EPOCH, hosts=["h0", "a"], addresses=["h0:1", "a:1"],
        chains=[0], lengths=[2], tasks=[0, 2], sources=[1],
    )  # fmt: skip
    agent.assignments.assign(message, graph)
    assert any(isinstance(frame, protocol.Run) for frame in _sent(agent))
    return agent


def _drop(agent: Agent) -> None:
    for _ in range(agent.settings.least_failures):
        agent.handle(HostUnreachable("a"))
    agent.handle(LinksDue())
    assert not agent.runners.slots[0].outstanding


def test_resources_are_not_lost_with_a_chain_that_was_dropped_at_its_runner() -> None:
    agent = _with_a_chain_that_was_dropped_at_its_runner(resources={"gpu": 1.0})
    _drop(agent)
    _end(agent, "one")
    assert _sent(agent) == [protocol.CloseJob(1)]


def test_nor_is_the_room_that_it_was_granted() -> None:
    agent = _with_a_chain_that_was_dropped_at_its_runner()
    agent.handle(RunnerSent(0, [protocol.Allocate(1, 0, 50_000, 1)]))
    assert [type(frame) for frame in _sent(agent)] == [protocol.Grant]
    _drop(agent)
    _end(agent, "one")
    assert _sent(agent) == [protocol.CloseJob(1)]
    agent.handle(RunnerSent(0, [protocol.Closed(1)]))
    assert agent.memory.store.used == 0


def test_if_it_has_neither_nothing_waits_for_the_answer() -> None:
    agent = _with_a_chain_that_was_dropped_at_its_runner()
    _drop(agent)
    _end(agent, "one")
    assert _sent(agent) == []
