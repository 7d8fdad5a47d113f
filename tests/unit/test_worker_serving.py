"""What peers want: they are sent values, offered large datasets, and told what is not to be had here."""

from __future__ import annotations

import pytest

from headrace.link import frames
from headrace.worker.agent.actions import SendBlock, ToPeer
from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.serving import forget_peer
from headrace_shm import Block
from headrace_shm.allocator import PAGE
from tests.unit.worker_parts import NAME, Parts, job_of

PEER, OTHER = 3, 4


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def job() -> HostJob:
    return job_of([[], [0]])


def stored(parts: Parts, job: HostJob, dataset: int = 0) -> Block[int]:
    """A large dataset is in memory."""
    block = parts.store.allocate(dataset + 100, PAGE, "runner")
    assert block is not None
    parts.store.seal(block.key)
    entry = job.entry(dataset)
    entry.block, entry.nbytes = block, PAGE
    return block


def test_a_value_that_is_here_is_sent_at_once(parts, job):
    job.entry(0).value = b"zero"
    parts.serving.wanted(job, 0, PEER)
    assert parts.decided() == [ToPeer(PEER, frames.Values(NAME, [0], [0], [4]), b"zero")]


def test_a_large_dataset_is_offered_and_sent_once_it_is_granted(parts, job):
    block = stored(parts, job)
    parts.serving.wanted(job, 0, PEER)
    assert parts.decided() == [ToPeer(PEER, frames.Offer(NAME, [0], [0], [PAGE]))]
    parts.serving.granted(job, 0, PEER)
    parts.serving.granted(job, 0, PEER)
    frame = frames.Data(NAME, 0, 0)
    assert parts.decided() == [SendBlock(PEER, frame, block.id, block.offset, PAGE)]
    assert job.entries[0].sending == 1
    assert not parts.serving.sent(PEER, frame, PAGE, block.id), "the dataset is still here"
    assert job.entries[0].sending == 0


def test_a_peer_waits_for_what_is_not_here_yet(parts, job):
    parts.serving.wanted(job, 0, PEER)
    parts.serving.wanted(job, 0, OTHER)
    parts.serving.wanted(job, 0, PEER)
    assert (parts.decided(), job.entries[0].wanted_by) == ([], [PEER, OTHER])
    forget_peer(job.entries[0], OTHER)
    job.entries[0].value = b"zero"
    parts.serving.serve_waiting(job, job.entries[0])
    assert parts.decided() == [ToPeer(PEER, frames.Values(NAME, [0], [0], [4]), b"zero")]
    assert not job.entries[0].wanted_by


@pytest.mark.parametrize("why", ["no such dataset", "dropped", "of a job that is over"])
def test_what_is_not_to_be_had_here_is_said_to_be_gone(parts, job, why):
    dataset = 9 if why == "no such dataset" else 0
    if why == "dropped":
        job.dropped.add(0)
    elif why == "of a job that is over":
        job.ended = "failed"
    parts.serving.wanted(job, dataset, PEER)
    assert parts.decided() == [ToPeer(PEER, frames.Gone(NAME, [dataset]))]


def test_a_grant_of_what_is_not_here_any_more_is_answered(parts, job):
    parts.serving.granted(job, 0, PEER)
    assert parts.decided() == [ToPeer(PEER, frames.Gone(NAME, [0]))]


def test_a_peer_that_left_is_sent_nothing_more(parts, job):
    block = stored(parts, job)
    parts.serving.granted(job, 0, PEER)
    parts.decided()
    parts.serving.left(PEER)
    parts.serving.sent(PEER, frames.Data(NAME, 0, 0), PAGE, block.id)
    assert not len(parts.serving.sending)
    assert job.entries[0].sending == 0
