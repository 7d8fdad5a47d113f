"""Claims on memory: granted in plan order, put off, granted above the capacity, or refused."""

from __future__ import annotations

import pytest

from headrace.link import frames
from headrace.runner import protocol
from headrace.runner.protocol import NEVER, NO_ROOM_YET
from headrace.worker.agent.actions import Spill, ToHost, ToRunner
from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.memory import Claim, Claimant
from headrace.worker.agent.slots import RunnerSlot
from headrace_shm.allocator import PAGE
from tests.unit.worker_parts import NAME, Parts, job_of


@pytest.fixture
def job() -> HostJob:
    return job_of([[] for _ in range(8)])


def claim(job: HostJob, dataset: int, pages: int = 1, order: int | None = None, slot: int = 0) -> Claim:
    """Of a runner's result."""
    return Claim(dataset if order is None else order, 0, job, dataset, pages * PAGE, Claimant(slot=slot, segment=dataset))


def offer(job: HostJob, dataset: int, host: str = "h1") -> Claim:
    """Of a dataset that another host offers."""
    job.entry(dataset).source = host
    return Claim(dataset, 0, job, dataset, PAGE, Claimant(host=host))


def granted(parts: Parts) -> list[int]:
    """The datasets that were granted memory since the last look."""
    frames_sent = [action.frame for action in parts.decided() if isinstance(action, ToRunner | ToHost)]
    return [
        frame.datasets[0] if isinstance(frame, frames.Grant) else frame.dataset
        for frame in frames_sent
        if isinstance(frame, frames.Grant) or (isinstance(frame, protocol.Grant) and frame.offset >= 0)
    ]


def test_a_claim_is_granted_at_once_while_there_is_memory(job):
    parts = Parts(pages=2)
    assert parts.memory.claim(claim(job, 0))
    block = job.entries[0].granted
    assert block is not None
    assert parts.decided() == [ToRunner(0, protocol.Grant(1, 0, block.id, block.offset))]
    assert not parts.memory.pressed


def test_claims_are_granted_in_plan_order_as_memory_becomes_free(job):
    parts = Parts(pages=1)
    assert parts.memory.claim(claim(job, 0))
    assert [parts.memory.claim(claim(job, dataset)) for dataset in (3, 1, 2)] == [False] * 3
    assert parts.decided()[1:] == [ToRunner(0, protocol.Grant(1, dataset, 0, NO_ROOM_YET)) for dataset in (3, 1, 2)]
    assert (parts.memory.first_claim, parts.memory.n_claims, parts.memory.pressed) == (1, 3, True)
    for dataset in (1, 2, 3):
        parts.store.purge(job.entries[0].granted.key)
        parts.store.abort(job.entries[0].granted.id)
        assert [each.dataset for each in parts.memory.settle()] == [dataset]
        assert granted(parts) == [dataset]
        job.entries[0] = job.entries[dataset]


def test_an_offer_is_granted_to_the_host_that_made_it(job):
    parts = Parts()
    assert parts.memory.claim(offer(job, 0))
    assert parts.decided() == [ToHost("h1", frames.Grant(NAME, [0]))]
    assert parts.grants.transfers == 1


def test_an_offer_is_dropped_with_the_link_to_its_host(job):
    parts = Parts(pages=1)
    parts.memory.claim(claim(job, 5))
    assert not parts.memory.claim(offer(job, 0))
    assert job.entries[0].offered == "h1"
    parts.memory.drop_offers("h1")
    assert (parts.memory.n_claims, job.entries[0].offered) == (0, "")


def test_claims_of_a_runner_go_with_it(job):
    parts = Parts(pages=1)
    parts.memory.claim(claim(job, 0, slot=1))
    parts.memory.claim(claim(job, 1, slot=1))
    parts.memory.claim(claim(job, 2, slot=2))
    parts.memory.drop_claims(1)
    assert [parts.memory.claims_for(slot, slot) for slot in (1, 2)] == [False, True]


def test_what_is_larger_than_the_address_space_is_refused_with_a_reason(job):
    parts = Parts(pages=2)
    parts.memory.claim(claim(job, 0, pages=50))
    (action,) = parts.decided()
    assert isinstance(action, ToRunner)
    assert isinstance(action.frame, protocol.Grant)
    assert action.frame.offset == NEVER
    assert "HEADRACE_CAPACITY" in action.frame.why


def test_the_first_claim_is_granted_above_the_capacity_when_nothing_can_go_on(job):
    parts = Parts(pages=1)
    for dataset in (0, 1, 2):
        parts.memory.claim(claim(job, dataset))
    parts.decided()
    assert [each.dataset for each in parts.memory.overcommit(1)] == [1]
    assert granted(parts) == [1]
    assert parts.store.used > parts.store.capacity


def test_a_claim_without_memory_behind_it_waits_again_and_is_told_once(job):
    parts = Parts(pages=2)
    parts.memory.claim(claim(job, 0))
    assert parts.memory.unbacked(job.entries[0], PAGE), "its runner is to be told that it waits"
    assert (parts.memory.n_claims, parts.store.used, job.entries[0].granted) == (1, 0, None)
    assert parts.memory.shortage.times == 1
    parts.memory.settle()
    assert not parts.memory.unbacked(job.entries[0], PAGE), "it knows"


def test_claims_have_datasets_moved_to_disk(job):
    parts = Parts(pages=2, spills=True)
    for dataset in (0, 1):
        parts.memory.claim(claim(job, dataset))
        entry = job.entries[dataset]
        parts.datasets.stored(job, dataset, 0, entry.granted)
    parts.memory.claim(claim(job, 2))
    parts.decided()
    parts.memory.settle()
    assert {type(action) for action in parts.decided()} == {Spill}


def test_a_dataset_on_disk_waits_for_the_earliest_place_in_the_plan(job):
    parts = Parts(pages=1, spills=True)
    parts.memory.claim(claim(job, 7))
    entry = job.entry(0)
    entry.nbytes, entry.spill_key = PAGE, "key"
    parts.memory.bring_back(job, entry, 6)
    parts.memory.bring_back(job, entry, 4)
    parts.memory.bring_back(job, entry, 5)
    assert (parts.memory.n_claims, parts.memory.first_claim) == (1, 4)


def test_only_outputs_on_disk_keep_their_claims_when_a_job_ends(job):
    parts = Parts(pages=1, spills=True)
    parts.memory.claim(claim(job, 7))
    parts.memory.claim(claim(job, 1))
    kept = job.entry(0)
    kept.nbytes, kept.spill_key = PAGE, "key"
    parts.memory.bring_back(job, kept, 6)
    job.entries = {0: kept}
    parts.memory.drop_job(job)
    assert (parts.memory.claims_of(job, 0), parts.memory.n_claims) == (True, 1)


def test_a_slab_is_not_granted_before_those_who_wait(job):
    parts = Parts(pages=2)
    runner = RunnerSlot(0)
    parts.memory.grant_slab(runner, PAGE)
    parts.memory.claim(claim(job, 0, pages=2))
    parts.decided()
    parts.memory.grant_slab(runner, PAGE)
    assert parts.decided() == [ToRunner(0, protocol.GrantSlab(0, NEVER, 0))]
