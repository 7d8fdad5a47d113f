"""Slabs at the agent: blocks that runners fill first and name later."""

from __future__ import annotations

import msgspec
import pytest

from headrace.runner import protocol
from headrace.runner.protocol import NEVER
from headrace.worker.agent.actions import ToRunner
from headrace.worker.agent.events import LogRead, RunnerDied, RunnerSent, RunnerStarted
from headrace.worker.agent.memory import Claim, Claimant
from headrace_schemas import Ended
from tests.unit.worker_world import JOB, World

NBYTES = 100_000
NUMBER = 1
"""The agent's number for the first job."""


@pytest.fixture
def world() -> World:
    """One host with two runners; task 0 makes what tasks 1 and 2 take."""
    world = World([[], [0], [0]], [1, 2], {0: NBYTES}, 1, 2, capacity=10 * NBYTES)
    world.assign([[0], [1], [2]], [0, 0, 0], [0, 1, 2])
    world.pump()
    return world


def grant_of(world: World, slot: int = 0, nbytes: int = NBYTES) -> protocol.GrantSlab:
    """What the agent answers to a runner that wants a slab."""
    agent = world.agents["h0"]
    agent.handle(RunnerSent(slot, [protocol.AllocateSlab(nbytes)]))
    [grant] = [action.frame for action in agent.take() if isinstance(action, ToRunner) and isinstance(action.frame, protocol.GrantSlab)]
    return grant


def hand_over(world: World, block: int, slot: int = 0, job: int = NUMBER) -> None:
    world.agents["h0"].handle(RunnerSent(slot, [protocol.Results(job, datasets=[0], values=[block])]))


def store_of(world: World):  # type: ignore[no-untyped-def]
    return world.agents["h0"].memory.store


def test_a_slab_that_is_returned_becomes_the_dataset_where_it_is(world):
    grant, store = grant_of(world), store_of(world)
    used = store.used
    assert used >= NBYTES
    hand_over(world, grant.block)
    assert store.used == used, "no other block was made"
    runs = [a for a in world.agents["h0"].take() if isinstance(a, ToRunner) and isinstance(a.frame, protocol.Run)]
    readers = [(run.slot, place) for run in runs for place in run.frame.locations]
    assert [place for _, place in readers] == [(grant.block, grant.offset, NBYTES)] * 2
    assert {k for report in world.agents["h0"].reports_due() for k in report.events.produced} == {0}
    for slot, _ in readers:
        world.agents["h0"].handle(RunnerSent(slot, [protocol.Released([grant.block], [1])]))
    world.purge("h0", [0])
    world.agents["h0"].handle(LogRead([Ended(at=1, term=1, job=JOB, state="failed")]))
    assert store.used == 0


def test_the_size_that_is_reported_is_that_of_the_slab(world):
    hand_over(world, grant_of(world).block)
    [report] = world.agents["h0"].reports_due()
    assert (report.events.produced, report.events.sizes) == ([0], [NBYTES])


def test_a_slab_that_is_not_returned_is_free_when_its_array_is_gone(world):
    grant = grant_of(world)
    before = world.agents["h0"].grants.progress
    world.agents["h0"].handle(RunnerSent(1, [protocol.Released([grant.block], [1])]))
    assert store_of(world).used, "it is another runner's"
    world.agents["h0"].handle(RunnerSent(0, [protocol.Released([grant.block], [1])]))
    assert store_of(world).used == 0
    assert world.agents["h0"].grants.progress > before, "who waits for memory is looked at again"
    world.agents["h0"].handle(RunnerSent(0, [protocol.Released([grant.block], [1])]))


def test_the_second_of_two_attempts_is_dropped(world):
    first, second = grant_of(world, 0), grant_of(world, 1)
    hand_over(world, first.block, 0)
    used = store_of(world).used
    hand_over(world, second.block, 1)
    assert store_of(world).used == used - used // 2


def test_a_slab_comes_before_a_copy_that_was_granted_room(world):
    agent = world.agents["h0"]
    segment = next(iter(agent.runners.slots[0].outstanding))
    agent.handle(RunnerSent(0, [protocol.Allocate(NUMBER, 0, NBYTES, segment)]))
    [grant] = [a.frame for a in agent.take() if isinstance(a, ToRunner) and isinstance(a.frame, protocol.Grant)]
    hand_over(world, grant_of(world, 1).block, 1)
    hand_over(world, grant.block, 0)
    assert [block.sealed for block in store_of(world).blocks()] == [True]


def test_a_slab_cannot_be_returned_by_another_runner_nor_twice(world):
    grant = grant_of(world, 0)
    hand_over(world, grant.block, 1)
    assert world.agents["h0"].jobs[JOB].entries[0].block is None
    hand_over(world, grant.block, 0)
    block = world.agents["h0"].jobs[JOB].entries[0].block
    assert block.id == grant.block
    hand_over(world, grant.block, 0)
    assert world.agents["h0"].jobs[JOB].entries[0].block is block


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_result_of_a_job_that_is_over_is_free(world, forgotten):
    grant = grant_of(world)
    world.agents["h0"].handle(LogRead([Ended(at=1, term=1, job=JOB, state="cancelled")]))
    assert store_of(world).used, "the runner may still write to it"
    hand_over(world, grant.block, job=NUMBER if not forgotten else 99)
    assert store_of(world).used == 0


def test_what_a_runner_that_dies_was_filling_is_free_and_what_it_returned_stays(world):
    returned = grant_of(world)
    hand_over(world, returned.block)
    used = store_of(world).used
    lost = [grant_of(world) for _ in range(3)]
    agent = world.agents["h0"]
    agent.handle(RunnerDied(0, None, -9, 1))
    assert store_of(world).used == used
    assert not agent.grants.slabs._blocks, "nothing is remembered of it"
    agent.handle(RunnerStarted(0))
    for grant in lost:
        hand_over(world, grant.block)
        agent.handle(RunnerSent(0, [protocol.Released([grant.block], [1])]))
    assert store_of(world).used == used
    assert agent.jobs[JOB].entries[0].block.id == returned.block


def test_a_runner_is_told_at_once_that_there_is_no_room(world):
    store = store_of(world)
    assert grant_of(world, nbytes=store.capacity + 1).offset == NEVER
    assert grant_of(world, nbytes=1 << 62).offset == NEVER
    while grant_of(world).offset != NEVER:
        assert store.used <= store.capacity
    assert store.used > store.capacity - 2 * NBYTES


def test_who_waits_for_memory_goes_first(world):
    agent, store = world.agents["h0"], store_of(world)
    filled = grant_of(world, nbytes=store.capacity - NBYTES)
    claim = Claim(0, 0, agent.jobs[JOB], 0, 3 * NBYTES, Claimant(slot=1, generation=1, segment=1))
    assert not agent.memory.claim(claim)
    assert grant_of(world, nbytes=NBYTES // 2).offset == NEVER, "there would be room, but not for the claim then"
    agent.handle(RunnerSent(0, [protocol.Released([filled.block], [1])]))
    agent.take()
    assert agent.jobs[JOB].entries[0].granted is not None


def test_without_memory_behind_its_place_a_slab_is_none(world):
    grant = grant_of(world)
    world.agents["h0"].execution.slab_refused(0, grant.block, None)
    assert store_of(world).used == 0


def test_a_nonsensical_size_is_refused(world):
    with pytest.raises(ValueError, match="-1 bytes"):
        world.agents["h0"].handle(RunnerSent(0, [protocol.AllocateSlab(-1)]))


def test_frames_of_slabs_travel():
    buffer = protocol.FrameBuffer()
    buffer.feed(protocol.pack(protocol.GrantSlab(3, 4096, 100)))
    assert buffer.to_runner() == [protocol.GrantSlab(3, 4096, 100)]
    buffer.feed(protocol.pack(protocol.AllocateSlab(100)))
    assert buffer.to_agent() == [protocol.AllocateSlab(100)]
    buffer.feed(protocol.pack(protocol.GrantSlab(3, 4096, 100)))
    with pytest.raises(msgspec.ValidationError):
        buffer.to_agent()
