"""What a host wants from others, without the rest of its agent."""

from __future__ import annotations

import pytest

from headrace.link import frames
from headrace.worker.agent.actions import Connect, Disconnect, ToHost
from headrace.worker.agent.fetching import Fetching
from headrace.worker.agent.jobs import Entry, HostJob, Segment
from headrace.worker.settings import Settings
from headrace_schemas.streams import INLINE_VALUE_BYTES
from headrace_shm.allocator import PAGE
from tests.unit.worker_parts import NAME, Parts, job_of, segment_of

HOST = "h1"


class Alone(Parts):
    """A host whose task 1 takes dataset 0 of host h1. ready, failed: what it said of segments."""

    def __init__(self) -> None:
        super().__init__()
        self.job = job_of([[], [0]])
        self.job.addresses[HOST] = "h1:1"
        self.ready: list[Segment] = []
        self.failed: list[tuple[int, str]] = []
        settings = Settings(host="h0", give_up_seconds=5.0)
        self.fetching = Fetching(
            {NAME: self.job}, self.datasets, self.memory, self.actions, settings, 0.0, self.ready.extend, self._fail_waiters
        )
        self.segment = segment_of(self.job, 1)
        self.datasets.use(self.job, [self.segment])
        self.fetching.sources.want(self.job, self.job.entries[0], HOST)

    def _fail_waiters(self, job: HostJob, entry: Entry, reason: str, text: str) -> None:
        self.failed.append((entry.dataset, reason))

    def connect(self) -> None:
        """The link opens, and the dataset is asked for."""
        self.fetching.host_connected(HOST, 1)
        self.actions += self.fetching.sources.wants()

    def grant(self) -> None:
        """The host offers a large dataset, which is granted memory."""
        self.connect()
        self.decided()
        self.fetching.offered(HOST, frames.Offer(NAME, [0], [0], [PAGE]))


@pytest.fixture
def host() -> Alone:
    return Alone()


def test_a_dataset_is_asked_for_once_its_link_is_open(host):
    assert host.decided() == [Connect(HOST, "h1:1")]
    host.connect()
    assert host.decided() == [ToHost(HOST, frames.Want(NAME, [0], [0]))]


def test_a_value_that_was_asked_for_makes_its_segment_ready(host):
    host.connect()
    host.fetching.values_received("h2", frames.Values(NAME, [0], [0], [4]), memoryview(b"null"))
    assert host.ready == [], "nobody asked that host"
    host.fetching.values_received(HOST, frames.Values(NAME, [0], [0], [4]), memoryview(b"zero"))
    assert (host.ready, host.job.entries[0].value) == ([host.segment], b"zero")


def test_a_value_too_large_to_be_sent_as_one_may_not_come(host):
    with pytest.raises(ValueError, match="a Values frame has a value of"):
        host.fetching.values_received(HOST, frames.Values(NAME, [0], [0], [INLINE_VALUE_BYTES + 1]), memoryview(b""))


def test_a_large_dataset_is_granted_memory_and_taken_in(host):
    host.grant()
    assert host.decided() == [ToHost(HOST, frames.Grant(NAME, [0]))]
    frame = frames.Data(NAME, 0, 0)
    host.fetching.receiving(HOST, frame, PAGE)
    assert host.fetching.place == (host.job.entries[0].granted.offset, PAGE)
    host.fetching.received(HOST, frame, PAGE)
    assert (host.ready, host.grants.transfers) == ([host.segment], 0)
    assert [events.copied for events in host.job.report.take(0)] == [[0]]


def test_bytes_that_leave_a_gap_end_their_link(host):
    host.grant()
    host.decided()
    host.fetching.receiving(HOST, frames.Data(NAME, 0, 0, PAGE // 2, PAGE), PAGE // 2)
    assert host.fetching.place is None
    assert host.decided() == [Disconnect(HOST)]


def test_a_dataset_that_its_host_does_not_have_is_reported_and_awaited_from_nobody(host):
    host.connect()
    host.decided()
    host.fetching.gone(HOST, frames.Gone(NAME, [0]))
    assert host.job.entries[0].source == ""
    assert [events.gone for events in host.job.report.take(0)] == [[0]]


def test_offers_go_with_the_link_that_they_came_over(host):
    host.store.allocate(99, 4 * PAGE, "other")
    host.grant()
    assert host.memory.n_claims == 1
    host.fetching.host_unreachable(HOST)
    assert host.memory.n_claims == 0


def test_tasks_fail_that_wait_for_a_host_out_of_reach_for_too_long(host):
    host.fetching.host_unreachable(HOST)
    host.fetching.sources.tick(60.0)
    host.fetching.retry_links()
    host.fetching.host_unreachable(HOST)
    host.fetching.sources.tick(120.0)
    host.fetching.retry_links()
    assert host.failed == [(0, "unreachable")]
