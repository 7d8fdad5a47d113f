"""The machine of reports alone: which facts are published, and when, and what is told again."""

from __future__ import annotations

from headrace.runner import protocol
from headrace.worker.agent.actions import Nudge, Report
from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.report import ENOUGH_BYTES, JobReport
from headrace.worker.agent.reporting import FEW_JOBS, LEFT_OUT, Reporting
from headrace.worker.settings import Settings
from headrace_schemas import Events, TaskError
from tests.unit.worker_parts import Parts, job_of, segment_of

SETTINGS = Settings(host="h0")


class Host:
    """The machine with jobs of one task, which is assigned and not over."""

    def __init__(self, jobs: int = 1) -> None:
        self.parts = Parts()
        self.jobs: dict[str, HostJob] = {}
        self.reporting = Reporting(self.jobs, self.parts.memory, [], SETTINGS)
        for number in range(jobs):
            job = self.jobs[f"job{number}"] = job_of([[]])
            job.name = f"job{number}"
            job.report = JobReport(job.name, "h0", 1, self.reporting.news)
            segment_of(job, 0)

    def end(self, name: str) -> None:
        """All that a job was to do here is done."""
        job = self.jobs[name]
        job.report.chains_done([0])
        [chain] = job.live_chains()
        job.close(chain)

    def due(self) -> list[tuple[str, list[int]]]:
        """The jobs whose facts go out, with the chains that are done."""
        return [(action.events.job, action.events.chains) for action in self.reporting.due() if isinstance(action, Report)]


def facts(job: str) -> Report:
    return Report(Events(job=job, host="h0", epoch=1, done=[7]))


def test_without_facts_nothing_goes_out() -> None:
    host = Host()
    assert not host.reporting.has_some
    assert host.reporting.due() == []


def test_facts_go_out_once() -> None:
    host = Host(2)
    host.end("job1")
    assert host.reporting.has_some
    assert host.due() == [("job1", [0])]
    assert not host.reporting.has_some
    assert host.due() == []


def test_what_depends_on_facts_decides_how_long_they_wait() -> None:
    host = Host()
    report = host.jobs["job0"].report
    report.started(0)
    assert host.reporting.seconds == SETTINGS.quiet_report_seconds, "no runner has anything to execute"
    report.failed(TaskError(task=0, reason="error"))
    assert host.reporting.seconds == SETTINGS.busy_report_seconds, "the job has more to do here"
    host.end("job0")
    assert host.reporting.seconds == SETTINGS.report_seconds


def test_a_retried_task_is_reported_as_started_at_once() -> None:
    host = Host()
    host.jobs["job0"].report.started(0, at_once=True)
    assert host.reporting.seconds == SETTINGS.report_seconds


def test_many_facts_go_out_soon() -> None:
    host = Host()
    for dataset in range(ENOUGH_BYTES // 4):
        host.jobs["job0"].report.copied(dataset)
    assert host.reporting.seconds == SETTINGS.quiet_report_seconds


def test_of_many_jobs_those_that_are_over_here_go_first_and_the_others_not_too_late() -> None:
    host = Host(FEW_JOBS + 1)
    for name in host.jobs:
        host.jobs[name].report.started(0)
    host.end("job2")
    assert host.due() == [("job2", [0])]
    for _ in range(LEFT_OUT - 1):
        host.jobs["job2"].report.chains_done([1])
        assert host.due() == [("job2", [1])]
    host.jobs["job2"].report.chains_done([1])
    assert [name for name, _ in host.due()] == ["job0", "job1", "job3", "job4", "job2"]


def test_facts_that_the_log_did_not_take_are_told_again_at_the_tick() -> None:
    host = Host()
    host.reporting.again(facts("job0"))
    assert host.reporting.due() == []
    assert host.reporting.at_tick() == [facts("job0")]
    assert host.reporting.at_tick() == []


def test_newer_facts_of_a_job_stay_behind_those_that_are_told_again() -> None:
    host = Host(2)
    host.reporting.again(facts("job0"))
    host.end("job0")
    host.end("job1")
    assert host.due() == [("job1", [0])]
    assert [(report.events.done, report.events.chains) for report in host.reporting.at_tick()] == [([7], []), ([], [0])]


def test_all_facts_are_taken_where_the_host_is_lost() -> None:
    host = Host(2)
    host.reporting.again(facts("job0"))
    host.end("job1")
    taken = host.reporting.everything([Nudge(0), facts("job1")])
    assert [(events.job, events.done, events.chains) for events in taken] == [("job1", [7], []), ("job0", [7], []), ("job1", [], [0])]
    assert host.reporting.everything([]) == []


def test_facts_of_an_earlier_epoch_are_void() -> None:
    host = Host()
    host.end("job0")
    host.reporting.begin_again()
    assert host.reporting.due() == []


def test_a_report_says_in_words_what_it_is_about() -> None:
    host = Host()
    host.jobs["job0"].report.started(0)
    host.jobs["job0"].report.profile(
        protocol.Results(1, functions=[0], function_counts=[1], function_seconds=[1.0], function_longest=[1.0])
    )
    [report] = host.reporting.due()
    assert isinstance(report, Report)
    assert report.events.about.startswith("started ")
