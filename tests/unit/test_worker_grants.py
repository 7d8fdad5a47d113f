"""Memory that was granted: who writes there, and when it is free again."""

from __future__ import annotations

import pytest

from headrace.link import frames
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.jobs import Entry, HostJob
from headrace.worker.agent.serving import LINK
from headrace.worker.agent.slots import RunnerSlot
from headrace_shm.allocator import PAGE
from tests.unit.worker_parts import NAME, Parts, job_of

RUNNER = RunnerSlot(0)


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def job() -> HostJob:
    return job_of([[], [0]])


def grant(parts: Parts, job: HostJob, writer: object = LINK, dataset: int = 0) -> Entry:
    """A dataset was granted memory."""
    entry = job.entry(dataset)
    entry.granted = parts.store.allocate(dataset + 1, PAGE, writer)
    entry.source = "h1" if writer == LINK else ""
    parts.grants.transfers += writer == LINK
    return entry


def data(start: int = 0, size: int = 0, attempt: int = 0) -> frames.Data:
    return frames.Data(NAME, 0, attempt, start, size)


def begin(grants: Grants, entry: Entry, frame: frames.Data, nbytes: int) -> bool:
    """Whether bytes that begin to come have a place."""
    return grants.arriving("h1", entry, frame, nbytes) is not None


def test_bytes_of_another_host_have_a_place_until_all_have_come(parts, job):
    entry, half = grant(parts, job), PAGE // 2
    for start, whole in ((0, False), (half, True)):
        assert begin(parts.grants, entry, data(start, PAGE), half)
        block = parts.grants.arrived("h1")
        assert block is entry.granted
        assert parts.grants.fill(entry, block, data(start, PAGE), half) is whole


@pytest.mark.parametrize(
    ("frame", "nbytes"),
    [(data(), PAGE // 2), (data(PAGE // 2, PAGE), PAGE // 2), (data(0, 2 * PAGE), PAGE)],
    ids=["another size", "a gap", "more than was granted"],
)
def test_bytes_that_do_not_fit_have_no_place(parts, job, frame, nbytes):
    assert not begin(parts.grants, grant(parts, job), frame, nbytes)


def test_a_piece_of_another_attempt_does_not_go_on_where_one_has_ended(parts, job):
    entry = grant(parts, job)
    begin(parts.grants, entry, data(0, PAGE), PAGE // 2)
    parts.grants.fill(entry, parts.grants.arrived("h1"), data(0, PAGE), PAGE // 2)
    assert not begin(parts.grants, entry, data(PAGE // 2, PAGE, attempt=1), PAGE // 2)


def test_memory_is_free_once_its_link_writes_no_more(parts, job):
    entry = grant(parts, job)
    begin(parts.grants, entry, data(), PAGE)
    parts.grants.take_back(job, entry)
    assert (parts.store.used, parts.grants.transfers) == (PAGE, 0), "the link may be writing"
    assert parts.grants.arrived("h1") is None
    assert parts.store.used == 0


def test_memory_that_a_link_does_not_write_to_is_free_at_once(parts, job):
    parts.grants.take_back(job, grant(parts, job))
    assert (parts.store.used, parts.grants.progress) == (0, 1)


@pytest.mark.parametrize("how", ["handed over", "closed", "died"])
def test_memory_of_a_runner_is_free_once_it_writes_no_more(parts, job, how):
    entry = grant(parts, job, RUNNER.client)
    block = entry.granted
    parts.grants.take_back(job, entry)
    assert parts.grants.has_orphans(RUNNER)
    parts.grants.closed(RUNNER, job.number + 1)
    assert parts.store.used == PAGE, "that was another job"
    if how == "handed over":
        parts.grants.written(RUNNER, block.id)
    elif how == "closed":
        parts.grants.closed(RUNNER, job.number)
    else:
        parts.grants.runner_died(RUNNER, [])
    assert (parts.store.used, parts.grants.has_orphans(RUNNER)) == (0, False)


def test_only_the_runner_with_the_grant_can_have_written_there(parts, job):
    entry = grant(parts, job, RUNNER.client)
    block = entry.granted
    assert parts.grants.made(job, 0, block.id, RunnerSlot(1)) is None
    assert parts.grants.made(job, 0, block.id + 1, RUNNER) is None
    assert parts.grants.made(job, 0, block.id, RUNNER) is block


def test_a_runner_that_died_had_its_grants(parts, job):
    entry = grant(parts, job, RUNNER.client)
    parts.grants.runner_died(RUNNER, [entry])
    assert (entry.granted, parts.store.used) == (None, 0)
