"""Each kind of action that cannot be carried out has an answer, and nothing waits for it for ever."""

from __future__ import annotations

import typing

import pytest

from headrace.link import frames
from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.actions import Setback
from headrace.worker.agent.events import (
    ActionFailed,
    Clock,
    Granted,
    HostConnected,
    LinksDue,
    PeerCame,
    Restored,
    RunnerDied,
    RunnerSent,
    RunnerStarted,
    Spilled,
    Tick,
    Wanted,
)
from headrace.worker.agent.relays import PeerHost
from headrace.worker.agent.setbacks import ANSWERS
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Events
from headrace_shm import Store
from headrace_shm.allocator import PAGE
from tests.unit.worker_world import EPOCH, graph_of

BROKEN = Setback("broken")
LARGE = 100 * PAGE


def agent_with(
    inputs: list[list[int]], tasks: list[int], sources: list[int] | None = None, spills: bool = False, **changed: object
) -> Agent:
    """An agent with one runner that has taken in an assignment of some tasks. sources: 1 for what host `a` has."""
    agent = Agent(Settings(host="h0", **changed), EPOCH, Store(8 * LARGE, 64 * LARGE), spills)  # type: ignore[arg-type]
    agent.handle(RunnerStarted(0))
    agent.assignments.assign(
        Assign(
            at=1, term=1, job="job", host="h0", epoch=EPOCH, hosts=["h0", "a"], addresses=["h0:1", "a:1"],
            chains=tasks, lengths=[1] * len(tasks), tasks=tasks, sources=sources or [],
        ),
        graph_of(inputs, [len(inputs) - 1]),
    )  # fmt: skip
    return agent


def of_kind(decided: list[actions.Action], kind: type) -> list[typing.Any]:
    return [action for action in decided if isinstance(action, kind)]


def frames_to_runner(agent: Agent, kind: type) -> list[actions.ToRunner]:
    return [action for action in of_kind(agent.take(), actions.ToRunner) if isinstance(action.frame, kind)]


def reported(agent: Agent) -> list[Events]:
    return [report.events for report in agent.reports_due()]


def failures(agent: Agent) -> list[tuple[int, str, str]]:
    return [(error.task, error.reason, error.error) for events in reported(agent) for error in events.failed]


def make(agent: Agent, dataset: int, segment: int) -> None:
    """The runner makes a large dataset."""
    agent.handle(RunnerSent(0, [protocol.Allocate(1, dataset, LARGE, segment)]))
    grant = next(action.frame for action in frames_to_runner(agent, protocol.Grant))
    agent.handle(RunnerSent(0, [protocol.Results(1, segments=[segment], datasets=[dataset], values=[grant.block])]))


def test_every_kind_of_action_has_an_answer():
    assert set(ANSWERS) == set(typing.get_args(actions.Action))


# --- runners ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [protocol.Run, protocol.OpenJob])
def test_work_that_cannot_be_handed_over_fails_like_work_whose_runner_died(kind):
    agent = agent_with([[], []], [0, 1], unknown_seconds=0.001)
    [action] = frames_to_runner(agent, kind)
    agent.handle(ActionFailed(action, BROKEN))
    text = "host h0 could not hand this task to a runner: broken"
    assert failures(agent) == [(0, "runner_died", text), (1, "runner_died", text)]
    assert agent.take() == [actions.KillRunner(0)]
    assert agent.counts.setbacks == {"ToRunner": 1}


def test_a_runner_that_cannot_be_told_something_else_is_replaced_and_its_work_runs_again():
    agent = agent_with([[]], [0])
    agent.take()
    agent.handle(ActionFailed(actions.ToRunner(0, protocol.CloseJob(9)), BROKEN))
    assert agent.take() == [actions.KillRunner(0)]
    agent.handle(RunnerDied(0, None, -9, 1))
    agent.handle(RunnerStarted(0))
    [run] = frames_to_runner(agent, protocol.Run)
    assert run.frame.tasks == [0]


def test_a_runner_that_cannot_be_killed_is_tried_again_at_each_tick_until_it_is_gone():
    agent = agent_with([[]], [0])
    agent.take()
    agent.handle(ActionFailed(actions.KillRunner(0), BROKEN))
    agent.handle(Tick(1.0, [None]))
    assert agent.take() == [actions.KillRunner(0)]
    agent.handle(ActionFailed(actions.KillRunner(0), BROKEN))
    agent.handle(RunnerDied(0, None, 0, 1))
    agent.handle(Tick(2.0, [None]))
    assert of_kind(agent.take(), actions.KillRunner) == []


def test_a_recall_that_did_not_reach_its_runner_takes_nothing_back_and_another_one_may_follow():
    agent = agent_with([[]], [0])
    agent.take()
    number = agent.runners.recall(agent.runners.slots[0])
    agent.handle(ActionFailed(actions.Recall(0, number), BROKEN))
    assert not agent.runners.slots[0].recalling
    assert list(agent.runners.slots[0].outstanding) == [1]


def test_nobody_waits_for_a_nudge_or_for_room_on_disk():
    agent = agent_with([[]], [0])
    agent.take()
    agent.handle(ActionFailed(actions.Nudge(0), BROKEN))
    agent.handle(ActionFailed(actions.Unspill("1"), BROKEN))
    assert agent.take() == []
    assert agent.counts.setbacks == {"Nudge": 1, "Unspill": 1}


# --- memory -----------------------------------------------------------------------------------------------------------


def granted(agent: Agent, dataset: int, segment: int) -> actions.ToRunner:
    agent.handle(RunnerSent(0, [protocol.Allocate(1, dataset, LARGE, segment)]))
    [action] = frames_to_runner(agent, protocol.Grant)
    return action


def test_a_result_without_memory_behind_its_place_waits_until_something_went_to_disk():
    agent = agent_with([[], [], [0, 1]], [0, 1], spills=True, unknown_seconds=0.001)
    agent.take()
    make(agent, 0, 1)
    agent.handle(ActionFailed(granted(agent, 1, 2), Setback("full", memory=LARGE)))
    decided = agent.take()
    assert [action.frame for action in of_kind(decided, actions.ToRunner)] == [protocol.Grant(1, 1, 0, protocol.NO_ROOM_YET)]
    [spill] = of_kind(decided, actions.Spill)
    assert agent.memory.store.capacity == LARGE
    agent.handle(Spilled(spill.key))
    [grant] = frames_to_runner(agent, protocol.Grant)
    assert grant.frame.offset >= 0
    agent.handle(Clock(agent.settings.memory_pause_seconds))
    assert agent.memory.store.capacity == 8 * LARGE


def test_a_result_that_finds_no_memory_twice_waits_without_being_told_again():
    agent = agent_with([[], []], [0, 1], spills=True, unknown_seconds=0.001)
    agent.take()
    make(agent, 0, 1)
    agent.handle(ActionFailed(granted(agent, 1, 2), Setback("full", memory=LARGE)))
    [spill] = of_kind(agent.take(), actions.Spill)
    agent.handle(Spilled(spill.key))
    [grant] = frames_to_runner(agent, protocol.Grant)
    agent.handle(ActionFailed(grant, Setback("full", memory=0)))
    assert frames_to_runner(agent, protocol.Grant) == []
    assert agent.memory.n_claims == 1


def test_a_result_that_has_no_memory_even_above_the_capacity_fails_and_the_cure_is_named():
    agent = agent_with([[], []], [0, 1], unknown_seconds=0.001)
    agent.take()
    make(agent, 0, 1)
    agent.handle(ActionFailed(granted(agent, 1, 2), Setback("full", memory=LARGE)))
    agent.take()
    for second in (1.0, 3.0):
        agent.handle(Tick(second, [None]))
    [grant] = frames_to_runner(agent, protocol.Grant)
    agent.handle(ActionFailed(grant, Setback("full", memory=LARGE)))
    [refused] = frames_to_runner(agent, protocol.Grant)
    assert refused.frame.offset == protocol.NEVER
    assert refused.frame.why == (
        "a result of 409,600 bytes has no room: the folder of shared memory is full with 409,600 bytes of this host in it, less than the "
        "store's capacity of 3,276,800 bytes. Enlarge the folder (for a container: its shm size), or delete other programs' files in it. "
        "Nothing is moved to disk: HEADRACE_SPILL_DIR is 'none'. Set HEADRACE_SPILL_DIR to a folder on a disk with room"
    )


def test_without_memory_behind_a_slab_the_runner_does_without_and_the_store_keeps_to_what_there_is():
    agent = agent_with([[]], [0])
    agent.take()
    agent.handle(RunnerSent(0, [protocol.AllocateSlab(LARGE)]))
    [action] = frames_to_runner(agent, protocol.GrantSlab)
    agent.handle(ActionFailed(action, Setback("full", memory=2 * PAGE)))
    assert [answer.frame for answer in frames_to_runner(agent, protocol.GrantSlab)] == [protocol.GrantSlab(0, protocol.NEVER, 0)]
    assert (agent.memory.store.used, agent.memory.store.capacity) == (0, 2 * PAGE)
    assert "the folder of shared memory is full with 8,192 bytes" in agent.trouble()[0]


def spilled_one() -> tuple[Agent, actions.Restore]:
    """Dataset 0 is on disk, and the task that takes it is ready."""
    agent = agent_with([[], [], [0]], [0, 1], spills=True, unknown_seconds=0.001)
    agent.take()
    make(agent, 0, 1)
    agent.memory.disk._spill(*agent.memory.disk.resident[agent.jobs["job"].entries[0].block.id])
    [spill] = of_kind(agent.take(), actions.Spill)
    agent.handle(Spilled(spill.key))
    agent.handle(RunnerSent(0, [protocol.Results(1, segments=[2], datasets=[1], values=[b"v"])]))
    agent.assignments.assign(
        Assign(
            at=2,
            term=1,
            job="job",
            host="h0",
            epoch=EPOCH,
            hosts=["h0"],
            addresses=["h0:1"],
            chains=[2],
            lengths=[1],
            tasks=[2],
            sources=[0],
        ),
        None,
    )
    [restore] = of_kind(agent.take(), actions.Restore)
    return agent, restore


def test_a_dataset_that_memory_has_no_room_for_stays_on_disk_and_is_read_later():
    agent, restore = spilled_one()
    agent.handle(ActionFailed(restore, Setback("full", memory=0)))
    assert of_kind(agent.take(), actions.Restore) == []
    assert not [events for events in reported(agent) if events.gone]
    agent.handle(Clock(agent.settings.memory_pause_seconds))
    [again] = of_kind(agent.take(), actions.Restore)
    agent.handle(Restored(again.key))
    [run] = frames_to_runner(agent, protocol.Run)
    assert run.frame.tasks == [2]


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_a_dataset_that_cannot_be_written_stays_in_memory_and_the_disk_has_a_pause_that_doubles():
    agent = agent_with([[], [0]], [0], spills=True)
    agent.take()
    make(agent, 0, 1)
    disk, pauses = agent.memory.disk, []
    for _ in range(6):
        disk._spill(*disk.resident[agent.jobs["job"].entries[0].block.id])
        [spill] = of_kind(agent.take(), actions.Spill)
        agent.handle(ActionFailed(spill, Setback("read-only file system")))
        assert agent.trouble() == ["nothing is moved to disk for a while: read-only file system"]
        assert not disk.enabled
        pauses.append(disk._paused_until - disk.now)
        agent.handle(Clock(disk._paused_until))
        assert disk.enabled
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert agent.jobs["job"].entries[0].block is not None
    disk._spill(*disk.resident[agent.jobs["job"].entries[0].block.id])
    [spill] = of_kind(agent.take(), actions.Spill)
    agent.handle(Spilled(spill.key))
    assert (disk.trouble, agent.trouble()) == ("", [])


def test_a_dataset_that_cannot_be_read_is_gone():
    agent, restore = spilled_one()
    reported(agent)
    agent.handle(ActionFailed(restore, BROKEN))
    assert [events.gone for events in reported(agent)] == [[0]]
    assert agent.memory.store.used == 0


# --- links ------------------------------------------------------------------------------------------------------------


def awaiting() -> Agent:
    """It has task 1, which takes dataset 0 of host a."""
    return agent_with([[], [0]], [1], sources=[1])


def test_a_host_to_which_no_link_can_be_begun_is_tried_again():
    agent = awaiting()
    [connect] = of_kind(agent.take(), actions.Connect)
    agent.handle(ActionFailed(connect, BROKEN))
    agent.handle(LinksDue())
    assert of_kind(agent.take(), actions.Connect) == [connect]


def test_what_cannot_be_sent_to_a_host_ends_the_link_and_is_sent_on_the_next_one():
    agent = awaiting()
    agent.take()
    agent.handle(HostConnected("a", EPOCH))
    [want] = of_kind(agent.take(), actions.ToHost)
    agent.handle(ActionFailed(want, BROKEN))
    [end] = agent.take()
    assert end == actions.Disconnect("a")
    agent.handle(ActionFailed(end, BROKEN))
    agent.handle(LinksDue())
    assert of_kind(agent.take(), actions.Connect) == [actions.Connect("a", "a:1")]
    agent.handle(HostConnected("a", EPOCH))
    assert of_kind(agent.take(), actions.ToHost) == [want]


def made_for_peer() -> tuple[Agent, actions.SendBlock]:
    """A peer is to be sent dataset 0."""
    agent = agent_with([[], [0]], [0])
    agent.take()
    make(agent, 0, 1)
    agent.handle(PeerCame(5, PeerHost("a", EPOCH, "")))
    agent.handle(Wanted(5, frames.Want("job", [0], [0])))
    agent.take()
    agent.handle(Granted(5, frames.Grant("job", [0])))
    [send] = of_kind(agent.take(), actions.SendBlock)
    return agent, send


def test_a_block_that_cannot_be_sent_is_let_go_of_and_its_link_ends():
    agent, send = made_for_peer()
    agent.handle(ActionFailed(send, BROKEN))
    assert of_kind(agent.take(), actions.DropPeer) == [actions.DropPeer(5)]
    entry = agent.jobs["job"].entries[0]
    assert (entry.sending, entry.block.holds) == (0, 0)


def test_a_peer_that_cannot_be_answered_loses_its_link_and_waits_for_nothing_here():
    agent, _ = made_for_peer()
    agent.handle(ActionFailed(actions.ToPeer(5, frames.Gone("job", [1])), BROKEN))
    [drop] = of_kind(agent.take(), actions.DropPeer)
    agent.handle(Wanted(5, frames.Want("job", [1], [0])))
    agent.handle(ActionFailed(drop, BROKEN))
    assert not agent.jobs["job"].entries[1].wanted_by


def test_a_part_that_cannot_be_read_for_a_peer_is_gone():
    agent, restore = spilled_one()
    agent.memory.disk.unread(restore.key)
    agent.handle(PeerCame(5, PeerHost("a", EPOCH, "")))
    agent.handle(Wanted(5, frames.Want("job", [0], [0])))
    agent.take()
    agent.handle(Granted(5, frames.Grant("job", [0])))
    [send] = of_kind(agent.take(), actions.SendSpilled)
    agent.handle(ActionFailed(send, BROKEN))
    assert [action.frame for action in of_kind(agent.take(), actions.ToPeer)] == [frames.Gone("job", [0])]
    assert [0] in [events.gone for events in reported(agent)]
