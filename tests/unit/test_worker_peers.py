"""The peers of a host, without the rest of its agent."""

from __future__ import annotations

import pytest

from headrace.link import frames
from headrace.worker.agent.actions import ToPeer
from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.peers import Peers
from tests.unit.worker_parts import NAME, Parts, job_of, segment_of

PEER, OTHER = 3, 4


class Alone(Parts):
    """Peers of a host with one job, which they can ask for before it is known."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, HostJob] = {}
        self.over: dict[str, None] = {}
        self.peers = Peers(self.jobs, self.over, self.serving, self.grants, self.actions)
        self.job = job_of([[], [0]])

    def open(self) -> None:
        """The job becomes known."""
        self.jobs[NAME] = self.job
        self.peers.job_opened(self.job)


@pytest.fixture
def host() -> Alone:
    return Alone()


def test_a_question_that_comes_before_its_job_is_answered_when_the_job_does(host):
    host.job.entry(0).value = b"zero"
    host.peers.wanted(PEER, frames.Want(NAME, [0], []))
    assert host.decided() == []
    host.open()
    assert host.decided() == [ToPeer(PEER, frames.Values(NAME, [0], [0], [4]), b"zero")]


def test_a_question_that_comes_before_a_job_that_never_does_is_answered_at_its_end(host):
    host.peers.wanted(PEER, frames.Want(NAME, [0], []))
    host.peers.wanted(OTHER, frames.Want(NAME, [1], []))
    host.peers.left(OTHER)
    host.peers.job_ended(NAME)
    assert host.decided() == [ToPeer(PEER, frames.Gone(NAME, [0]))]


def test_nothing_is_here_of_a_job_that_is_over(host):
    host.over[NAME] = None
    host.peers.wanted(PEER, frames.Want(NAME, [0], []))
    host.peers.granted(PEER, frames.Grant(NAME, [1]))
    assert host.decided() == [ToPeer(PEER, frames.Gone(NAME, [0])), ToPeer(PEER, frames.Gone(NAME, [1]))]


def test_what_was_dropped_and_is_made_again_is_awaited(host):
    host.open()
    host.job.dropped.add(0)
    segment_of(host.job, 0)
    host.peers.wanted(PEER, frames.Want(NAME, [0], []))
    assert (host.decided(), host.job.entries[0].wanted_by, host.job.dropped) == ([], [PEER], set())


def test_what_was_dropped_and_is_not_made_again_is_reported_as_gone(host):
    host.open()
    host.job.dropped.add(0)
    host.peers.wanted(PEER, frames.Want(NAME, [0], []))
    assert host.decided() == [ToPeer(PEER, frames.Gone(NAME, [0]))]
    assert [events.gone for events in host.job.report.take(0)] == [[0]]


@pytest.mark.parametrize("how", ["unwanted", "left"])
def test_a_peer_that_needs_a_dataset_no_longer_does_not_wait(host, how):
    host.open()
    host.peers.wanted(PEER, frames.Want(NAME, [0], []))
    host.peers.unwanted(PEER, frames.Unwant(NAME, [0])) if how == "unwanted" else host.peers.left(PEER)
    assert not host.job.entries[0].wanted_by
