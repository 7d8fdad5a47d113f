"""Datasets at a host: what segments wait for, what is used, and what is dropped."""

from __future__ import annotations

import pytest

from headrace.link import frames
from headrace.worker.agent.actions import Restore, Spill, ToPeer, Unspill
from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.memory import Claim, Claimant
from headrace_schemas import Events
from headrace_shm.allocator import PAGE
from tests.unit.worker_parts import NAME, Parts, job_of, segment_of

PEER = 3


@pytest.fixture
def job() -> HostJob:
    """Task 2 takes the datasets 0 and 1."""
    return job_of([[], [], [0, 1]], [2])


def store(parts: Parts, job: HostJob, dataset: int) -> list[int]:
    """A runner wrote a dataset to memory. Returns the tasks that can run now."""
    assert parts.memory.claim(Claim(0, 0, job, dataset, PAGE, Claimant(slot=0)))
    ready = parts.datasets.stored(job, dataset, 0, job.entries[dataset].granted)
    parts.decided()
    return [segment.tasks[0] for segment in ready]


def told(job: HostJob) -> Events:
    """What the log is told."""
    (events,) = job.report.take(0)
    return events


def test_a_segment_is_ready_once_all_that_it_takes_is_here(job):
    parts = Parts()
    segment = segment_of(job, 2)
    parts.datasets.use(job, [segment])
    assert segment.missing == 2
    assert parts.datasets.values(job, {0: b"zero"}, {}) == []
    assert store(parts, job, 1) == [2]


def test_the_second_attempt_at_a_dataset_changes_nothing(job):
    parts = Parts()
    parts.datasets.values(job, {0: b"zero"}, {})
    parts.datasets.values(job, {0: b"null"}, {0: 1})
    assert (job.entries[0].value, job.entries[0].attempt) == (b"zero", 0)
    store(parts, job, 1)
    spare = parts.store.allocate(-1, PAGE, "other")
    assert parts.datasets.stored(job, 1, 1, spare) == []
    assert (parts.store.used, job.entries[1].attempt) == (PAGE, 0)


def test_peers_that_wait_are_served_when_a_dataset_comes(job):
    parts = Parts()
    parts.serving.wanted(job, 0, PEER)
    parts.datasets.values(job, {0: b"zero"}, {})
    assert parts.decided() == [ToPeer(PEER, frames.Values(NAME, [0], [0], [4]), b"zero")]


def test_what_is_in_use_is_kept_at_a_purge(job):
    parts = Parts()
    store(parts, job, 0)
    parts.datasets.values(job, {1: b"one"}, {})
    segment = segment_of(job, 2)
    parts.datasets.use(job, [segment])
    assert parts.datasets.purge(job, [0, 1]) == [0, 1]
    parts.datasets.unuse(job, [segment])
    assert parts.datasets.purge(job, [0, 1]) == []
    assert (parts.store.used, job.entries, job.dropped) == (0, {}, {0, 1})


def test_a_dropped_dataset_that_is_taken_again_is_reported_as_gone(job):
    parts = Parts()
    parts.datasets.values(job, {0: b"zero"}, {})
    parts.datasets.purge(job, [0])
    parts.datasets.use(job, [segment_of(job, 2)])
    assert told(job).gone == [0]


def test_a_small_copy_goes_with_its_last_use(job):
    parts = Parts()
    segment = segment_of(job, 2)
    parts.datasets.use(job, [segment])
    job.entries[0].source = "h1"
    parts.datasets.values(job, {0: b"zero"}, {})
    parts.datasets.values(job, {1: b"one"}, {}, made=True)
    parts.datasets.unuse(job, [segment])
    assert list(job.entries) == [1], "others may ask for what was made here"


def test_an_input_on_disk_is_brought_back_before_its_segment_runs(job):
    parts = Parts(pages=2, spills=True)
    store(parts, job, 0)
    store(parts, job, 1)
    parts.disk.make_room(PAGE)
    for spill in parts.decided():
        assert isinstance(spill, Spill)
        parts.datasets.spilled(spill.key, True)
    segment = segment_of(job, 2)
    parts.datasets.use(job, [segment])
    assert not parts.datasets.prepare(segment)
    ready = []
    for restore in parts.decided():
        if isinstance(restore, Restore):
            ready += parts.datasets.restored(restore.key, True)
    assert (ready, segment.missing) == ([segment], 0)
    assert parts.datasets.prepare(segment)


def test_an_unreadable_dataset_is_reported_as_gone(job):
    parts = Parts(pages=1, spills=True)
    store(parts, job, 0)
    parts.disk.make_room(PAGE)
    (spill,) = parts.decided()
    parts.datasets.spilled(spill.key, True)
    parts.datasets.unreadable(spill.key)
    assert parts.decided() == [Unspill(spill.key)]
    assert (job.entries[0].here, told(job).gone) == (False, [0])


@pytest.mark.parametrize("done", [True, False])
def test_only_outputs_of_a_job_that_is_done_stay_at_its_end(job, done):
    parts = Parts()
    store(parts, job, 0)
    store(parts, job, 2)
    parts.datasets.drop_job(job, keep_outputs=done)
    assert list(job.entries) == ([2] if done else [])
    assert parts.store.used == (PAGE if done else 0)


def test_a_new_epoch_keeps_what_was_made_here(job):
    parts = Parts()
    store(parts, job, 0)
    job.entry(1).source = "h1"
    parts.datasets.values(job, {1: b"one"}, {})
    parts.memory.claim(Claim(0, 0, job, 2, PAGE, Claimant(slot=0)))
    parts.datasets.begin_again(job)
    assert list(job.entries) == [0]
