"""How long a host's facts wait before they go out: the less, the more depends on them."""

from __future__ import annotations

from headrace.runner import protocol
from headrace.worker.agent.events import RunnerSent, RunnerStarted
from headrace.worker.agent.report import ENOUGH_BYTES, JobReport
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign
from headrace_shm import Store
from tests.unit.worker_world import EPOCH, JOB, graph_of

SETTINGS = Settings(host="h0")


def agent_with(inputs: list[list[int]], outputs: list[int]) -> Agent:
    """An agent whose only runner has the first tasks of a job already."""
    agent = Agent(SETTINGS, EPOCH, Store(1 << 20, 1 << 23), spills=False)
    agent.handle(RunnerStarted(0))
    tasks = list(range(len(inputs)))
    sources = [0 for row in inputs for _ in row]
    assign = Assign(
        at=1, term=1, job=JOB, host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"],
        chains=tasks, lengths=[1] * len(tasks), tasks=tasks, sources=sources,
    )  # fmt: skip
    agent.assignments.assign(assign, graph_of(inputs, outputs))
    agent.take()
    return agent


def make_large(agent: Agent, dataset: int) -> None:
    """The runner writes a dataset to a block, and ends the segment that makes it."""
    agent.handle(RunnerSent(0, [protocol.Allocate(1, dataset, 50_000, dataset + 1)]))
    [grant] = [action.frame for action in agent.take() if isinstance(action.frame, protocol.Grant)]
    agent.handle(RunnerSent(0, [protocol.Results(1, segments=[dataset + 1], datasets=[dataset], values=[grant.block])]))
    agent.take()


def end_small(agent: Agent, dataset: int) -> None:
    """The runner ends the segment that makes a small dataset."""
    agent.handle(RunnerSent(0, [protocol.Results(1, segments=[dataset + 1], datasets=[dataset], values=[b"value"])]))
    agent.take()


def test_facts_that_nothing_depends_on_wait_longest():
    agent = agent_with([[], [], [0, 1]], [2])
    make_large(agent, 0)
    assert agent.reporting.has_some
    assert agent.reporting.seconds == SETTINGS.idle_report_seconds


def test_the_last_use_of_a_large_dataset_is_told_soon_for_its_memory():
    agent = agent_with([[], [0], [], [1, 2]], [3])
    make_large(agent, 0)
    assert agent.reporting.seconds == SETTINGS.idle_report_seconds
    end_small(agent, 1)
    assert agent.reporting.seconds == SETTINGS.quiet_report_seconds
    assert agent.reports_due()
    assert not agent.reporting.has_some
    assert agent.reporting.seconds == SETTINGS.idle_report_seconds


def test_a_use_of_a_large_dataset_that_others_follow_is_not_told_soon():
    agent = agent_with([[], [0], [0], [1, 2]], [3])
    make_large(agent, 0)
    end_small(agent, 1)
    assert agent.reporting.seconds == SETTINGS.idle_report_seconds


def test_a_host_that_has_no_work_left_says_so_soon():
    agent = agent_with([[]], [])
    make_large(agent, 0)
    assert agent.reporting.seconds == SETTINGS.quiet_report_seconds


def test_what_the_client_asked_for_goes_out_first_and_at_once_if_it_is_the_last():
    agent = agent_with([[], []], [0, 1])
    end_small(agent, 0)
    assert agent.reporting.seconds == SETTINGS.busy_report_seconds
    end_small(agent, 1)
    assert agent.reporting.seconds == SETTINGS.report_seconds


def test_many_facts_and_copies_are_told_soon():
    report = JobReport(JOB, "h0", EPOCH, {})
    report.chains_done([0])
    assert not report.soon
    while not report.soon:
        report.chains_done([1])
    assert len(report.take(0)[0].chains) > ENOUGH_BYTES // 100
    assert not report.soon
    report.copied(3)
    assert report.soon


def agent_with_jobs(count: int) -> Agent:
    """An agent that has two tasks of each of some jobs, of which the first is done."""
    agent = Agent(SETTINGS, EPOCH, Store(1 << 20, 1 << 23), spills=False)
    agent.handle(RunnerStarted(0))
    for number in range(count):
        assign = Assign(
            at=1, term=1, job=f"job-{number}", host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"],
            chains=[0, 1], lengths=[1, 1], tasks=[0, 1], sources=[],
        )  # fmt: skip
        agent.assignments.assign(assign, graph_of([[], []], [0, 1]))
    agent.take()
    for job in agent.jobs.values():
        end_first(agent, job.number)
    return agent


def end_first(agent: Agent, number: int, task: int = 0) -> None:
    """The runner ends a task of a job."""
    job = next(job for job in agent.jobs.values() if job.number == number)
    chain = job.chains[task]
    assert chain is not None
    agent.handle(RunnerSent(0, [protocol.Results(number, segments=[chain.segments[0].id], datasets=[task], values=[b"value"])]))
    agent.take()


def reported(agent: Agent) -> list[str]:
    """The jobs that a report is about."""
    return [action.events.job for action in agent.reports_due()]  # type: ignore[union-attr]


def test_of_many_jobs_those_that_are_over_here_are_told_and_the_others_wait_for_more():
    agent = agent_with_jobs(8)
    first, *others = list(agent.jobs)
    end_first(agent, agent.jobs[first].number, 1)
    assert agent.reporting.seconds == SETTINGS.report_seconds
    assert reported(agent) == [first]
    assert agent.reporting.seconds == SETTINGS.busy_report_seconds
    assert reported(agent) == others


def test_jobs_that_are_never_over_are_told_all_the_same():
    agent, told = agent_with_jobs(30), list[str]()
    names = list(agent.jobs)
    for count, name in enumerate(names, 1):  # noqa: B007 - looked at behind the loop
        end_first(agent, agent.jobs[name].number, 1)
        told += reported(agent)
        if names[-1] in told:
            break
    assert count < 12


def test_of_few_jobs_all_are_told():
    agent = agent_with_jobs(4)
    names = list(agent.jobs)
    end_first(agent, agent.jobs[names[0]].number, 1)
    assert sorted(reported(agent)) == sorted(names)
