"""The agent's state machine: whatever the order of events, every chain runs, with the right inputs, inside its memory."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.graph.naming import INPUT_NAMES
from headrace.link import frames
from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent import events as ev
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, Reroute, Revoke
from headrace_shm import Store
from tests.unit.worker_world import EPOCH, JOB, SHORT, World, expected_value, graph_of


def fused(inputs: list[list[int]], outputs: list[int], rng: random.Random) -> list[list[int]]:
    """Random chains: paths along edges whose dataset has one consumer."""
    consumers: dict[int, list[int]] = {}
    for task, row in enumerate(inputs):
        for dataset in row:
            consumers.setdefault(dataset, []).append(task)
    chain_of: dict[int, list[int]] = {}
    chains = []
    for task, row in enumerate(inputs):
        heads = [d for d in row if consumers[d] == [task] and d not in outputs and chain_of[d][-1] == d]
        if heads and rng.random() < 0.7:
            chain = chain_of[rng.choice(heads)]
            chain.append(task)
        else:
            chain = [task]
            chains.append(chain)
        chain_of[task] = chain
    return sorted(chains, key=lambda chain: chain[-1])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    n = draw(st.integers(1, 24))
    inputs = [sorted(draw(st.sets(st.integers(0, t - 1), max_size=3))) if t else [] for t in range(n)]
    used = {d for row in inputs for d in row}
    return inputs, [d for d in range(n) if d not in used or draw(st.booleans())]


def end_and_leave_nothing(world: World, rng) -> None:
    """End the job, and let go of what runners still map: then all of them are idle, and nothing is kept in memory or on disk."""
    world.end("failed")
    world.run(rng)
    for (name, slot), runner in world.runners.items():
        agent = world.agents[name]
        for block, count in agent.memory.store.held_by(agent.runners.slots[slot].client).items():
            agent.handle(ev.RunnerSent(slot, [protocol.Released([block], [count])]))
        assert runner.idle
    assert all(agent.memory.store.used == 0 and agent.memory.disk.empty for agent in world.agents.values())


@settings(max_examples=150, deadline=None)
@given(graphs(), st.integers(1, 3), st.integers(1, 2), st.integers(1, 4), st.randoms(use_true_random=False))
def test_any_order_of_events_runs_every_chain_once(graph, hosts, runners, windows, rng):
    inputs, outputs = graph
    large = {d: rng.choice([9_000, 20_000]) for d in range(len(inputs)) if rng.random() < 0.4}
    world = World(inputs, outputs, large, hosts, runners, capacity=1 << 22, part_chains=rng.choice([1, 3, 256]))
    world.slabs = {dataset for dataset in large if rng.random() < 0.5}
    chains = fused(inputs, outputs, rng)
    placed = [rng.randrange(hosts) for _ in chains]
    home = {task: host for chain, host in zip(chains, placed, strict=True) for task in chain}
    size = -(-len(chains) // windows)
    for start in range(0, len(chains), size):
        ids = list(range(start, min(start + size, len(chains))))
        for index, name in enumerate(world.names):
            mine = [(i, chains[i]) for i in ids if placed[i] == index]
            if mine:
                message = world._assign(name, mine, home, {})
                world.agents[name].handle(ev.LogRead([message, message] if rng.random() < 0.3 else [message]))
        for _ in range(rng.randrange(40)):
            world.step(rng)
    world.run(rng)
    assert sorted(world.done_chains()) == list(range(len(chains)))
    executed = sorted(task for runner in world.runners.values() for task in runner.executed)
    assert executed == list(range(len(inputs)))
    memo: dict[int, bytes] = {}
    small = [d for d in outputs if d not in large]
    assert world.values() == {d: expected_value(inputs, d, memo) for d in small}
    assert world.produced() >= set(outputs)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.integers(1, 2), st.integers(1, 2), st.randoms(use_true_random=False))
def test_with_less_memory_than_data_the_rest_goes_to_disk_and_comes_back_unchanged(graph, hosts, runners, rng):
    inputs, outputs = graph
    large = {d: rng.choice([9_000, 20_000]) for d in range(len(inputs)) if rng.random() < 0.8}
    world = World(inputs, outputs, large, hosts, runners, capacity=120_000, spills=True, part_chains=3)
    world.slabs = {dataset for dataset in large if rng.random() < 0.5}
    chains = fused(inputs, outputs, rng)
    world.assign(chains, [rng.randrange(hosts) for _ in chains], list(range(len(chains))))
    world.run(rng)
    assert sorted(world.done_chains()) == list(range(len(chains)))
    memo: dict[int, bytes] = {}
    assert world.values() == {d: expected_value(inputs, d, memo) for d in outputs if d not in large}
    end_and_leave_nothing(world, rng)
    assert not world.disk


@settings(max_examples=150, deadline=None)
@given(graphs(), st.integers(1, 2), st.integers(1, 2), st.booleans(), st.randoms(use_true_random=False))
def test_whenever_runners_die_what_they_had_is_done_by_others(graph, hosts, runners, spills, rng):
    inputs, outputs = graph
    large = {d: rng.choice([9_000, 20_000]) for d in range(len(inputs)) if rng.random() < 0.8}
    world = World(inputs, outputs, large, hosts, runners, capacity=80_000 if spills else 1 << 22, spills=spills, part_chains=3)
    world.slabs = {dataset for dataset in large if rng.random() < 0.3}
    chains = fused(inputs, outputs, rng)
    placed = [rng.randrange(hosts) for _ in chains]
    home = {task: host for chain, host in zip(chains, placed, strict=True) for task in chain}
    world.assign(chains, placed, list(range(len(chains))))
    attempts, seen = dict[int, int](), 0
    for _ in range(rng.randrange(5)):
        for _ in range(rng.randrange(60)):
            world.step(rng)
        world.kill_runner(*rng.choice(list(world.runners)))
        seen = _assign_again(world, chains, home, attempts, seen)
    world.run(rng)
    while seen < len(world.events):
        seen = _assign_again(world, chains, home, attempts, seen)
        world.run(rng)
    assert {task for chain in world.done_chains() for task in chains[chain]} == set(range(len(inputs)))
    memo: dict[int, bytes] = {}
    assert world.values() == {d: expected_value(inputs, d, memo) for d in outputs if d not in large}
    assert world.produced() >= set(outputs)
    assert not [events.gone for events in world.events if events.gone]
    end_and_leave_nothing(world, rng)


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(1, 3), st.integers(1, 2), st.booleans(), st.integers(0, 25), st.randoms(use_true_random=False))
def test_whatever_actions_fail_every_chain_runs_with_the_right_inputs(graph, hosts, runners, spills, faults, rng):
    inputs, outputs = graph
    large = {d: rng.choice([9_000, 20_000]) for d in range(len(inputs)) if rng.random() < 0.6}
    world = World(inputs, outputs, large, hosts, runners, capacity=120_000 if spills else 1 << 22, spills=spills, part_chains=3)
    world.slabs = {dataset for dataset in large if rng.random() < 0.5}
    world.faults, world.faults_left = rng, faults
    chains = fused(inputs, outputs, rng)
    world.assign(chains, [rng.randrange(hosts) for _ in chains], list(range(len(chains))))
    world.run(rng)
    if any(events.failed for events in world.events):  # no memory even above the capacity, too many faults of one link, or of the log
        assert {error.reason for events in world.events for error in events.failed} <= {"too_large", "unreachable"}
        return
    assert sorted(set(world.done_chains())) == list(range(len(chains)))
    memo: dict[int, bytes] = {}
    assert world.values() == {d: expected_value(inputs, d, memo) for d in outputs if d not in large}
    assert world.produced() >= set(outputs)
    end_and_leave_nothing(world, rng)


def _assign_again(world: World, chains: list[list[int]], home: dict[int, int], attempts: dict[int, int], seen: int) -> int:
    """What the other services do: chains that failed or were given back get another id, at the end of `chains`. Returns the events seen."""
    world.pump()
    for events in world.events[seen:]:
        for chain in [next(c for c in reversed(chains) if error.task in c) for error in events.failed] + [
            chains[id] for id in events.revoked
        ]:
            attempts.update({task: attempts.get(task, 0) + 1 for task in chain})
            chains.append(chain)
            name = world.names[home[chain[0]]]
            world.agents[name].handle(ev.LogRead([world._assign(name, [(len(chains) - 1, chain)], home, attempts)]))
    return len(world.events)


def test_a_host_with_a_disk_stays_within_its_memory_though_nothing_is_purged():
    n, nbytes = 60, 100_000
    inputs = [[] for _ in range(n)] + [[k] for k in range(n)]
    world = World(inputs, list(range(n, 2 * n)), dict.fromkeys(range(n), nbytes), 1, 2, capacity=10 * nbytes, spills=True)
    world.assign([[task] for task in range(2 * n)], [0] * (2 * n), list(range(2 * n)))
    world.run(random.Random(5))
    assert sorted(world.done_chains()) == list(range(2 * n))
    store = world.agents["h0"].memory.store
    assert store.high_water <= store.capacity
    assert world.agents["h0"].memory.disk.spilled_bytes > (n - 10) * nbytes


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 2), st.randoms(use_true_random=False))
def test_nothing_is_left_in_the_store_when_a_job_has_failed(graph, hosts, rng):
    inputs, outputs = graph
    world = World(inputs, outputs, dict.fromkeys(range(len(inputs)), 10_000), hosts, 1, capacity=1 << 22, part_chains=3)
    world.slabs = {dataset for dataset in range(len(inputs)) if rng.random() < 0.5}
    chains = [[task] for task in range(len(inputs))]
    world.assign(chains, [rng.randrange(hosts) for _ in chains], list(range(len(chains))))
    for _ in range(rng.randrange(60)):
        world.step(rng)
    world.end("failed")
    world.run(rng)
    for (name, slot), runner in world.runners.items():
        assert runner.idle
        agent = world.agents[name]
        for block in list(agent.memory.store.held_by(agent.runners.slots[slot].client).items()):
            agent.handle(ev.RunnerSent(slot, [protocol.Released([block[0]], [block[1]])]))
    assert all(agent.memory.store.used == 0 and not agent.jobs for agent in world.agents.values())


def test_a_stream_of_ten_times_the_capacity_stays_within_it():
    n, nbytes = 40, 100_000
    inputs = [row for k in range(n) for row in ([], [2 * k])]
    outputs = [2 * k + 1 for k in range(n)]
    world = World(inputs, outputs, {2 * k: nbytes for k in range(n)}, 1, 2, capacity=n * nbytes // 10, part_chains=10)
    world.assign([[task] for task in range(2 * n)], [0] * (2 * n), list(range(2 * n)))
    rng, purged = random.Random(3), set()
    for _ in range(10_000):
        moved = world.step(rng)
        done = set(world.done_chains())
        ready = {2 * k for k in range(n) if 2 * k + 1 in done} - purged
        if ready:
            world.purge("h0", sorted(ready))
            purged |= ready
        if not moved and not ready:
            break
    assert sorted(world.done_chains()) == list(range(2 * n))
    store = world.agents["h0"].memory.store
    assert store.high_water <= store.capacity
    assert store.used == 0


def test_first_tasks_run_before_the_last_of_a_large_assignment_are_taken_in_and_what_follows_it_waits():
    n, part = 40, 8
    world = World([[], *([0] for _ in range(n - 1))], list(range(1, n)), {}, 1, 1, capacity=1 << 20, part_chains=part)
    agent = world.agents["h0"]
    world.assign([[task] for task in range(n)], [0] * n, list(range(n)))
    world.purge("h0", [0])
    world.pump()
    while not world.runners["h0", 0].idle:
        world.runners["h0", 0].step()
        world.pump()
    assert world.runners["h0", 0].executed == list(range(part)), "all that is known so far"
    assert not any(events.kept for events in world.events), "the purge waits: tasks that take the dataset are still to come"
    for known in range(2 * part, n + 1, part):
        agent.handle(ev.AssignmentResumed())
        assert len(agent.jobs[JOB].chains) == known
    assert agent.intake.busy, "that there is no more is not known yet"
    agent.handle(ev.AssignmentResumed())
    assert not agent.intake.busy
    world.run(random.Random(1))
    assert sorted(world.runners["h0", 0].executed) == list(range(n))
    assert [events.kept for events in world.events if events.kept] == [[0]]


def test_without_purges_results_go_above_the_capacity_and_fail_when_the_address_space_is_full():
    n, nbytes = 60, 100_000
    world = World([[] for _ in range(n)], list(range(n)), dict.fromkeys(range(n), nbytes), 1, 1, capacity=5 * nbytes)
    world.assign([[task] for task in range(n)], [0] * n, list(range(n)))
    runner, rng = world.runners["h0", 0], random.Random(1)
    for _ in range(40):
        while world.step(rng):
            pass
        world.tick(2.0)
    assert world.agents["h0"].memory.store.used > 25 * nbytes, "the address space is eight times the capacity"
    assert runner.refused, "what does not fit there is refused"
    assert len(world.produced()) + len(runner.refused) == n


def _agent(**settings: object) -> Agent:
    """An agent with one runner, and the first assignment of a job of three tasks: 0 and 1 here, 2 takes dataset 1 of another host."""
    agent = Agent(Settings(host="h0", **settings), EPOCH, Store(1 << 20, 1 << 23))  # type: ignore[arg-type]
    agent.handle(ev.RunnerStarted(0))
    return agent


def _assign(agent: Agent, job: str, inputs: list[list[int]], tasks: list[int], sources: list[int], outputs: list[int]) -> None:
    agent.assignments.assign(
        Assign(
            at=1, term=1, job=job, host="h0", epoch=EPOCH, hosts=["h0", "a", "b"], addresses=["h0:1", "a:1", "b:1"],
            chains=tasks, lengths=[1] * len(tasks), tasks=tasks, sources=sources,
        ),
        graph_of(inputs, outputs),
    )  # fmt: skip


def _again(job: str, chain: int, task: int, sources: list[int] | None = None) -> Assign:
    """A task's next attempt. sources: per input the index of the host that has it; not this one unless it is 0."""
    return Assign(
        at=1, term=1, job=job, host="h0", epoch=EPOCH, hosts=["h0", "a", "b"], addresses=["h0:1", "a:1", "b:1"],
        chains=[chain], lengths=[1], tasks=[task], attempts=[1], sources=[0] if sources is None else sources,
    )  # fmt: skip


def _make(agent: Agent, dataset: int, nbytes: int, segment: int) -> list[actions.Spill]:
    """The runner writes a dataset where it gets room, and is through with the segment. Returns what goes to disk for that."""
    agent.take()
    agent.handle(ev.RunnerSent(0, [protocol.Allocate(1, dataset, nbytes, segment)]))
    decided = agent.take()
    [grant] = [action.frame for action in decided if isinstance(action, actions.ToRunner)]
    agent.handle(ev.RunnerSent(0, [protocol.Results(1, segments=[segment], datasets=[dataset], values=[grant.block])]))
    return [action for action in [*decided, *agent.take()] if isinstance(action, actions.Spill)]


def test_a_place_that_a_runner_may_still_write_to_is_given_to_nobody_else():
    agent = _agent()
    _assign(agent, "one", [[]], [0], [], [0])
    agent.take()
    agent.handle(ev.RunnerSent(0, [protocol.Allocate(1, 0, 50_000, 1)]))
    [grant] = [action.frame for action in agent.take() if isinstance(action.frame, protocol.Grant)]
    agent.handle(ev.LogRead([Ended(at=1, term=1, job="one", state="cancelled")]))
    _assign(agent, "two", [[]], [0], [], [0])
    agent.take()
    agent.handle(ev.RunnerSent(0, [protocol.Allocate(2, 0, 50_000, 2)]))
    [other] = [action.frame for action in agent.take() if isinstance(action.frame, protocol.Grant)]
    assert other.offset != grant.offset
    used = agent.memory.store.used
    agent.handle(ev.RunnerSent(0, [protocol.Closed(1)]))
    assert agent.memory.store.used < used


def _with_a_runner_that_died_over_its_result() -> Agent:
    """The runner died when dataset 0 had been granted its place, and another one has its slot."""
    agent = _agent()
    _assign(agent, "job", [[], [0]], [0], [], [1])
    agent.take()
    agent.handle(ev.RunnerSent(0, [protocol.Allocate(1, 0, 50_000, 1)]))
    agent.take()
    agent.handle(ev.RunnerDied(0, (1, 0), -9, 123))
    agent.handle(ev.RunnerStarted(0))
    return agent


def test_a_task_whose_runner_died_over_its_result_gets_another_place_for_it():
    agent = _with_a_runner_that_died_over_its_result()
    agent.assignments.assign(_again("job", chain=2, task=0, sources=[]), None)
    agent.take()
    agent.handle(ev.RunnerSent(0, [protocol.Allocate(1, 0, 50_000, 2)]))
    assert [action.frame.offset >= 0 for action in agent.take() if isinstance(action, actions.ToRunner)] == [True]
    agent.handle(ev.RunnerSent(0, [protocol.Results(1, segments=[2], datasets=[0], values=[agent.jobs["job"].entries[0].granted.id])]))
    assert agent.jobs["job"].entries[0].attempt == 1


def test_a_job_whose_runner_died_over_its_result_can_end():
    agent = _with_a_runner_that_died_over_its_result()
    agent.handle(ev.LogRead([Ended(at=1, term=1, job="job", state="failed")]))
    assert agent.memory.store.used == 0
    assert not agent.jobs


def test_what_a_runner_died_over_is_asked_of_the_host_that_makes_it_instead():
    agent = _with_a_runner_that_died_over_its_result()
    agent.handle(ev.HostConnected("a", EPOCH))
    _assign(agent, "job", [[], [0]], [1], [1], [1])
    assert [action.frame.datasets for action in agent.take() if isinstance(action, actions.ToHost)] == [[0]]


def test_a_reroute_counts_also_while_the_bytes_are_on_their_way():
    agent = _agent()
    _assign(agent, "job", [[], [0]], [1], [1], [1])
    assert [action for action in agent.take() if isinstance(action, actions.Connect)] == [actions.Connect("a", "a:1")]
    agent.handle(ev.HostConnected("a", EPOCH))
    agent.take()
    agent.handle(ev.Offered("a", frames.Offer("job", [0], [0], [50_000])))
    agent.take()
    agent.handle(ev.DataArriving("a", frames.Data("job", 0, 0), 50_000))
    assert agent.fetching.place is not None
    to_b = Reroute(
        at=1, term=1, job="job", host="h0", epoch=EPOCH, hosts=["h0", "a", "b"], addresses=["h0:1", "a:1", "b:1"], datasets=[0], sources=[2]
    )
    agent.handle(ev.LogRead([to_b]))
    agent.handle(ev.HostConnected("b", EPOCH))
    wants = [action for action in agent.take() if isinstance(action, actions.ToHost)]
    assert wants == [actions.ToHost("b", frames.Want("job", [0], [0], agent.address))]
    agent.handle(ev.HostUnreachable("a"))
    assert agent.memory.store.used == 0


def test_an_input_that_never_fits_fails_the_task_that_takes_it():
    agent = _agent()
    _assign(agent, "job", [[], [0]], [1], [1], [1])
    agent.take()
    agent.handle(ev.HostConnected("a", EPOCH))
    agent.take()
    agent.handle(ev.Offered("a", frames.Offer("job", [0], [0], [1 << 24])))
    agent.take()
    [report] = agent.reports_due()
    assert [(error.task, error.reason) for error in report.events.failed] == [(1, "too_large")]
    assert not report.events.gone


def test_a_host_that_nobody_here_needs_any_more_is_not_tried_again():
    agent = _agent()
    _assign(agent, "job", [[], [0]], [1], [1], [1])
    agent.take()
    agent.handle(ev.HostUnreachable("a"))
    agent.handle(ev.LogRead([Revoke(at=1, term=1, job="job", host="h0", epoch=EPOCH, chains=[1])]))
    assert agent.reports_due()
    agent.handle(ev.LinksDue())
    assert not agent.take()
    assert not agent.reports_due()
    agent.assignments.assign(_again("job", chain=2, task=1, sources=[1]), None)
    assert agent.take() == [actions.Connect("a", "a:1")]


@pytest.mark.parametrize("asked_for_first", [True, False])
def test_what_comes_back_from_disk_comes_though_it_is_made_once_more(asked_for_first):
    agent = Agent(Settings(host="h0", unknown_seconds=SHORT), EPOCH, Store(1 << 20, 1 << 23), spills=True)
    agent.handle(ev.RunnerStarted(0))
    _assign(agent, "job", [[], [], [0]], [0, 1], [], [2])
    assert not _make(agent, 0, 450_000, segment=1)
    [spill] = _make(agent, 1, 500_000, segment=2)
    agent.handle(ev.Spilled(spill.key))
    agent.assignments.assign(_again("job", chain=2, task=0, sources=[]), None)
    decided = agent.take()
    ask = [
        lambda: agent.handle(ev.RunnerSent(0, [protocol.Allocate(1, 0, 450_000, 3)])),
        lambda: agent.assignments.assign(_again("job", chain=3, task=2), None),
    ]
    for event in reversed(ask) if asked_for_first else ask:
        event()
        decided += agent.take()
    agent.handle(ev.Spilled(decided[-1].key))
    decided += agent.take()
    *_, grant = [action.frame for action in decided if isinstance(action, actions.ToRunner)]
    assert grant.offset >= 0
    [restore] = [action for action in decided if isinstance(action, actions.Restore)]
    agent.handle(ev.Restored(restore.key))
    assert [action.frame.tasks for action in agent.take() if isinstance(action, actions.ToRunner)] == [[2]]
    agent.handle(ev.RunnerSent(0, [protocol.Results(1, segments=[3], datasets=[0], values=[grant.block])]))
    assert agent.memory.store.used == agent.jobs["job"].entries[0].block.size


def test_two_cancelled_jobs_do_not_hide_one_another():
    agent = _agent(grace_seconds=1.0)
    agent.handle(ev.Tick(10.0, [None]))
    for job in ("x", "y"):
        _assign(agent, job, [[]], [0], [], [0])
    agent.take()
    for job in ("x", "y"):
        agent.handle(ev.LogRead([Ended(at=1, term=1, job=job, state="cancelled")]))
    for step in range(5):
        agent.handle(ev.Tick(10.1 + step, [(1, 0)]))
    assert [action for action in agent.take() if isinstance(action, actions.KillRunner)] == [actions.KillRunner(0)]


def test_a_job_without_a_graph_fails_and_the_host_goes_on():
    agent = _agent()
    agent.assignments.assign(
        Assign(at=1, term=1, job="j", host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=[0], lengths=[1], tasks=[0]), None
    )
    [report] = agent.take()
    assert report.events.failed[0].reason == "no_graph"


def test_a_purge_of_what_is_still_needed_is_answered_with_kept():
    world = World([[], [0]], [1], {0: 10_000}, 1, 1, capacity=1 << 20)
    world.assign([[0], [1]], [0, 0], [0, 1])
    world.pump()
    world.purge("h0", [0])
    world.pump()
    assert any(0 in events.kept for events in world.events)
    world.run(random.Random(0))
    world.purge("h0", [0])
    world.pump()
    assert sum(0 in events.kept for events in world.events) == 1
    assert world.agents["h0"].memory.store.used == 0


def test_a_runner_that_dies_gives_its_task_up_and_what_waited_there_runs_again():
    world = World([[], [], []], [0, 1, 2], {}, 1, 1, capacity=1 << 20)
    world.assign([[0], [1], [2]], [0, 0, 0], [0, 1, 2])
    world.pump()
    agent, runner = world.agents["h0"], world.runners["h0", 0]
    number = agent.jobs[JOB].number
    agent.handle(ev.RunnerDied(0, (number, 0), -9, 123))
    runner.inbox.clear()
    agent.handle(ev.RunnerStarted(0))
    world.run(random.Random(1))
    failed = [error for events in world.events for error in events.failed]
    assert [(error.task, error.reason) for error in failed] == [(0, "runner_died")]
    assert "signal 9" in failed[0].error
    assert sorted(world.done_chains()) == [1, 2]


def test_a_task_of_many_inputs_whose_runner_died_names_the_first_of_them():
    n = 5 * INPUT_NAMES
    agent = _agent()
    _assign(agent, "job", [*([] for _ in range(n)), list(range(n))], [n], [1] * n, [n])
    agent.take()
    agent.handle(ev.HostConnected("a", EPOCH))
    agent.take()
    agent.handle(ev.ValuesReceived("a", frames.Values("job", list(range(n)), [0] * n, [1] * n), memoryview(bytes(n))))
    assert any(isinstance(action.frame, protocol.Run) for action in agent.take() if isinstance(action, actions.ToRunner))
    agent.handle(ev.RunnerDied(0, (1, n), -9, 123))
    [failed] = [error for report in agent.reports_due() for error in report.events.failed]
    assert failed.reason == "runner_died"
    assert failed.inputs == [f"f-{dataset}" for dataset in range(INPUT_NAMES)]


def test_a_chain_that_has_not_started_is_given_back_and_one_that_has_is_not():
    world = World([[], [0], []], [1, 2], {}, 1, 1, capacity=1 << 20)
    world.assign([[0], [1], [2]], [0, 0, 0], [0, 1, 2])
    world.pump()
    agent, runner = world.agents["h0"], world.runners["h0", 0]
    runner.step()
    runner.step()
    assert not runner.inbox
    runner.step()
    agent.handle(ev.LogRead([Revoke(at=1, term=1, job=JOB, host="h0", epoch=EPOCH, chains=[0, 1])]))
    world.run(random.Random(1))
    assert [chain for events in world.events for chain in events.revoked] == [1]
    assert sorted(world.done_chains()) == [0, 2]


def test_messages_of_an_older_epoch_or_term_change_nothing():
    world = World([[]], [0], {}, 1, 1, capacity=1 << 20)
    message = world._assign("h0", [(0, [0])], {0: 0}, {})
    agent = world.agents["h0"]
    message.epoch = EPOCH - 1
    agent.assignments.assign(message, world.graph)
    assert not agent.jobs
    message.epoch, message.term = EPOCH, 5
    agent.assignments.assign(message, world.graph)
    message.term, message.chains = 4, [1]
    agent.assignments.assign(message, world.graph)
    assert list(agent.jobs[JOB].chains) == [0]
