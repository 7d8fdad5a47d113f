"""The watchdog names what waits for something that should have come, and is silent otherwise."""

from __future__ import annotations

import random

import pytest

from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.events import HostConnected, LogRead, Spilled, Tick
from headrace.worker.agent.state import Agent
from headrace.worker.agent.watchdog import Wait, Watchdog, wait_of
from headrace.worker.settings import Settings
from headrace_schemas import Assign, SinkSpec
from tests.unit.test_worker_agent import fused
from tests.unit.test_worker_setbacks import agent_with, make, of_kind
from tests.unit.worker_world import EPOCH, World

PATIENCE = Settings(host="h0").stuck_seconds
IDLE = [None]


def waits(agent: Agent) -> list[str]:
    return [wait["waits_for"] for wait in agent.waits(IDLE)]


def test_a_wait_is_overdue_once_it_has_lasted_and_is_told_of_once() -> None:
    agent = agent_with([[]], [0])
    agent.take()
    agent.runners.slots[0].outstanding.clear()  # as a mistake of the agent's would
    agent.jobs["job"].chains[0].next = 0
    told: list[str] = []
    for second in range(0, int(3 * PATIENCE)):
        agent.watchdog.is_due(float(second)) and told.extend(_look(agent, float(second)))
    assert told == [f"task 'f-0' of job job has waited {PATIENCE:.0f} s for a runner, although one is idle"]
    assert agent.trouble() == [
        f"task 'f-0' of job job has waited {2 * PATIENCE + PATIENCE * 2 / 3:.0f} s for a runner, although one is idle"
    ]


def _look(agent: Agent, now: float) -> list[str]:
    agent._watch(now, IDLE)
    return warnings_only(agent)


def warnings_only(agent: Agent) -> list[str]:
    found = [action.text for action in agent._actions if isinstance(action, actions.Warn)]
    agent._actions.clear()
    return found


def test_a_wait_that_changes_begins_anew() -> None:
    dog = Watchdog(9.0)
    agent = agent_with([[]], [0])
    job = agent.jobs["job"]
    [segment] = job.chains[0].segments
    for second in range(0, 60, 3):
        assert dog.look(second, [(job, segment, Wait(f"{second // 6} of 10 bytes", overdue=True))]) == []
    assert dog.overdue == []
    assert dog.look(99.0, [(job, segment, Wait("nothing", overdue=False))]) == []


def test_what_tasks_wait_for_in_words() -> None:
    agent = agent_with([[], [0], [], [2, 1]], [0, 1, 3], sources=[0, 1, 0], unknown_seconds=0.001)
    assert waits(agent) == [
        "a runner, although one is idle",
        "dataset 'f-0', which a task here makes",
        "a link to host a, which has dataset 'f-2'",
    ]
    agent.take()
    assert waits(agent)[0] == "runner 0, which has it and executes nothing"
    number = agent.jobs["job"].number
    segments = [chain.segments[0] for chain in agent.jobs["job"].chains.values() if chain is not None]
    assert wait_of(agent, agent.jobs["job"], segments[0], [(number, 0)]) == Wait("runner 0 to finish it")
    assert wait_of(agent, agent.jobs["job"], segments[0], [(number, 9)]) == Wait("runner 0, which executes another task before it")
    agent.handle(HostConnected("a", EPOCH))
    assert waits(agent)[2] == "dataset 'f-2', which host a was asked for"
    segments[1].missing, segments[1].entries[0].value = 1, b"here"
    assert waits(agent)[1] == "an input, although all its inputs are here"


def test_a_dataset_that_is_thought_to_be_here_and_is_not_is_reported_as_gone_after_a_while() -> None:
    agent = agent_with([[], [0]], [1], sources=[0])
    agent.take()
    assert waits(agent) == ["dataset 'f-0', for which no source is known"]
    gone: list[list[int]] = []
    for second in range(0, int(2 * PATIENCE), 10):
        agent.handle(Tick(float(second), IDLE))
        agent.take()
        gone += [report.events.gone for report in agent.reports_due() if isinstance(report, actions.Report)]
    assert gone == [[0]]


def test_tasks_whose_inputs_were_lost_on_disk_keep_no_other_from_running() -> None:
    n = 5
    inputs = [[] for _ in range(n)] + [[k] for k in range(n)] + [[]]
    agent = agent_with(inputs, list(range(n)), spills=True, unknown_seconds=0.001, queue_segments=1)
    for k in range(n):
        agent.take()
        make(agent, k, k + 1)
    disk = agent.memory.disk
    for job, entry in list(disk.resident.values()):
        disk._spill(job, entry)
    for spill in of_kind(agent.take(), actions.Spill):
        agent.handle(Spilled(spill.key))
    agent.assignments.assign(_assign(list(range(n, 2 * n))), None)
    for restore in of_kind(agent.take(), actions.Restore):
        agent.restored(restore.key, False)
    while restores := of_kind(agent.take(), actions.Restore):
        for restore in restores:
            agent.restored(restore.key, False)
    agent.assignments.assign(_assign([2 * n]), None)
    runs = [action.frame.tasks for action in of_kind(agent.take(), actions.ToRunner) if isinstance(action.frame, protocol.Run)]
    assert runs == [[2 * n]]


def _assign(tasks: list[int]) -> Assign:
    return Assign(
        at=2, term=1, job="job", host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=tasks, lengths=[1] * len(tasks),
        tasks=tasks, sources=[0] * sum(1 for task in tasks if task < 10),
    )  # fmt: skip


@pytest.mark.parametrize("start", range(0, 200, 20))
def test_it_is_silent_in_jobs_with_sinks_whose_last_tasks_are_assigned_when_all_their_inputs_are_there(start: int) -> None:
    for seed in range(start, start + 20):
        _scene(random.Random(seed))


def _scene(rng: random.Random) -> None:
    """A job with a sink; its last two tasks are assigned late. Runners die, the disk is used, and actions fail, in some of the scenes."""
    n, hosts, spills = rng.randint(4, 16), rng.randint(1, 3), rng.random() < 0.5
    inputs = [sorted(rng.sample(range(t), min(t, rng.randint(0, 3)))) for t in range(n)]
    inputs += [sorted(rng.sample(range(n), 2)) for _ in range(2)]
    used = {dataset for row in inputs for dataset in row}
    outputs = [dataset for dataset in range(n + 2) if dataset not in used or rng.random() < 0.3]
    large = {dataset: rng.choice([9_000, 20_000]) for dataset in range(n + 2) if rng.random() < 0.6}
    world = World(inputs, outputs, large, hosts, rng.randint(1, 2), capacity=150_000 if spills else 1 << 22, spills=spills, part_chains=3)
    world.sink = SinkSpec(path="/products")
    world.slabs = {dataset for dataset in large if rng.random() < 0.5}
    chains = fused(inputs[:n], [*outputs, *(dataset for row in inputs[n:] for dataset in row)], rng)
    placed = [rng.randrange(hosts) for _ in chains]
    home = {task: host for chain, host in zip(chains, placed, strict=True) for task in chain}
    world.assign(chains, placed, list(range(len(chains))))
    world.run(rng)
    for task in (n, n + 1):
        chains.append([task])
        placed.append(rng.randrange(hosts))
        home[task] = placed[-1]
    if rng.random() < 0.5:
        world.faults, world.faults_left = rng, 3
    for index, name in enumerate(world.names):
        mine = [(id, chains[id]) for id in (len(chains) - 2, len(chains) - 1) if placed[id] == index]
        if mine:
            world.agents[name].handle(LogRead([world._assign(name, mine, home, {})]))
    world.run(rng)
    for _ in range(12):
        world.tick(10.0)
        world.pump()
    assert not world.warnings
    assert not any(agent.watchdog.overdue for agent in world.agents.values())
    if not any(events.failed for events in world.events):
        assert sorted(set(world.done_chains())) == list(range(len(chains)))
        assert {each.dataset for events in world.events for each in events.written} == set(outputs)
