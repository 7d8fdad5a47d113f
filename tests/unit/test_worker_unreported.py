"""Facts that the log does not take: they are reported again, in parts, or fail their task; none is lost."""

from __future__ import annotations

import pytest

from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.actions import Setback
from headrace.worker.agent.events import ActionFailed, RunnerSent, Tick
from headrace.worker.agent.parts import in_parts
from headrace_schemas import Events, TaskError
from tests.unit.test_worker_setbacks import BROKEN, agent_with, failures, of_kind
from tests.unit.worker_world import EPOCH


def events_of(**columns: object) -> Events:
    return Events(job="job", host="h0", epoch=EPOCH, **columns)  # type: ignore[arg-type]


def test_facts_that_the_log_does_not_take_now_are_reported_again():
    agent = agent_with([[]], [0])
    agent.take()
    report = actions.Report(events_of(chains=[0]))
    agent.handle(ActionFailed(report, BROKEN))
    assert agent.take() == []
    agent.handle(Tick(1.0, [None]))
    assert agent.take() == [report]


def test_later_facts_of_a_job_go_out_behind_those_that_the_log_did_not_take():
    agent = agent_with([[], []], [0, 1], unknown_seconds=0.001)
    agent.take()
    agent.handle(RunnerSent(0, [protocol.Results(1, segments=[1], datasets=[0], values=[b"v"])]))
    [first] = agent.reports_due()
    agent.handle(ActionFailed(first, BROKEN))
    agent.handle(RunnerSent(0, [protocol.Results(1, segments=[2], datasets=[1], values=[b"v"])]))
    assert agent.reports_due() == []
    agent.handle(Tick(1.0, [None]))
    assert [action.events.produced for action in of_kind(agent.take(), actions.Report)] == [[0], [1]]


def test_facts_that_are_too_large_are_reported_in_parts_that_say_the_same_in_the_same_order():
    whole = events_of(
        produced=[0, 1, 2], produced_attempts=[0, 1, 0], sizes=[5, 6, 7], value_ids=[1], values=[b"v"], done=[0], chains=[4, 5],
        metadata_ids=[2], metadata=[{"a": 1}], failed=[TaskError(task=3)], gone=[9],
    )  # fmt: skip
    agent, done = agent_with([[]], [0]), []
    agent.take()
    waiting: list[actions.Action] = [actions.Report(whole)]
    while waiting:
        report = waiting.pop(0)
        assert isinstance(report, actions.Report)
        parts = in_parts(report.events)
        if not parts:
            done.append(report.events)
            continue
        agent.handle(ActionFailed(report, Setback("too large", final=True)))
        waiting = [*agent.take(), *waiting]
    columns = [name for name in whole.__struct_fields__ if isinstance(getattr(whole, name), list)]
    assert {name: [value for part in done for value in getattr(part, name)] for name in columns} == {
        name: getattr(whole, name) for name in columns
    }
    order = [next(name for name in columns if getattr(part, name)) for part in done]
    assert order == ["metadata_ids", "produced", "produced", "produced", "value_ids", "done", "chains", "chains", "failed", "gone"]


@pytest.mark.parametrize(
    "fact",
    [
        {"value_ids": [0], "values": [b"v"]},
        {"metadata_ids": [0], "metadata": [{}]},
        {"failed": [TaskError(task=0, traceback="long")]},
    ],
)
def test_a_fact_that_is_too_large_alone_fails_its_task_and_says_so(fact):
    agent = agent_with([[]], [0])
    agent.take()
    agent.handle(ActionFailed(actions.Report(events_of(**fact)), Setback("larger than 1,000 bytes", final=True)))
    assert failures(agent) == [(0, "too_large", "host h0 could not report on this task: larger than 1,000 bytes")]
