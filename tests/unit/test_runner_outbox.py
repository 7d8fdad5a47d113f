"""What a runner collects to send: frames per job, and the reports that wait until their task has ended well."""

from __future__ import annotations

from headrace.runner.delivery import Delivery
from headrace.runner.job import RunnerJob
from headrace.runner.outbox import Outbox
from headrace.runner.protocol import Released, Results
from headrace.values import ArrayType
from headrace_schemas import TaskError, Written
from tests.unit.runner_frames import graph

ARRAY = ArrayType("<f8", [3])
FILE = Written(dataset=1, part="a.part", location="a.npy", bytes=8, checksum="", encoding="npy")


def test_what_a_job_did_travels_in_one_frame() -> None:
    outbox, job = Outbox(), RunnerJob(1, graph())
    job.took(job.function(0), 0.25)
    outbox.dataset(job, 0, b"x", {"step": 1})
    outbox.array(0, ARRAY)
    outbox.segment_done(job, 7)
    outbox.failed(job, 8, TaskError(task=2))
    outbox.let_go.extend([30, 31, 30])
    assert outbox.waiting
    results = Results(
        1,
        segments=[7],
        datasets=[0],
        values=[b"x"],
        metadata_ids=[0],
        metadata=[{"step": 1}],
        functions=[0],
        function_counts=[1],
        function_seconds=[0.25],
        function_longest=[0.25],
        failed=[TaskError(task=2)],
        failed_segments=[8],
        typed=[0],
        dtypes=["<f8"],
        shapes=[[3]],
    )
    assert outbox.take() == [results, Released([30, 31], [2, 1])]
    assert (outbox.waiting, outbox.take()) == (False, [])


def test_frames_of_several_jobs_are_sent_in_order_and_wait_since_the_first() -> None:
    outbox, jobs = Outbox(), [RunnerJob(number, graph()) for number in (1, 2)]
    for number, job in ((0, jobs[0]), (1, jobs[1]), (2, jobs[0])):
        outbox.now = 10.0 + number
        outbox.segment_done(job, number)
    assert outbox.since == 10.0
    assert outbox.take() == [Results(1, segments=[0]), Results(2, segments=[1]), Results(1, segments=[2])]
    outbox.task_done(jobs[1], 5)
    assert (outbox.since, outbox.take()) == (12.0, [Results(2, tasks=[5])])


def delivered(outbox: Outbox, job: RunnerJob) -> Delivery:
    """A delivery that withholds a dataset and a file."""
    delivery = Delivery(outbox)
    delivery.withhold()
    delivery.dataset(job, 0, b"x", None, ARRAY)
    delivery.written(job, FILE, None)
    assert not outbox.waiting
    return delivery


def test_reports_that_were_withheld_are_made_once_the_task_has_ended_well() -> None:
    outbox, job = Outbox(), RunnerJob(1, graph())
    delivery = delivered(outbox, job)
    delivery.release()
    delivery.dataset(job, 1, 5, None, None)
    expected = Results(1, datasets=[0, 1], values=[b"x", 5], typed=[0], dtypes=["<f8"], shapes=[[3]], written=[FILE])
    assert outbox.take() == [expected]


def test_only_files_of_a_task_that_failed_are_reported() -> None:
    outbox, job = Outbox(), RunnerJob(1, graph())
    delivered(outbox, job).discard()
    assert outbox.take() == [Results(1, written=[FILE])]
