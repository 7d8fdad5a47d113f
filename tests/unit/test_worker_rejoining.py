"""A host whose lease was lost joins again: it keeps what it holds, says so, and does what it is told under its new epoch."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.events import LogRead, Rejoined, RunnerSent
from headrace.worker.agent.rejoining import held, still_true
from headrace.worker.agent.state import Agent
from headrace_schemas import Ended, Events, Purge
from tests.unit.test_worker_agent import _again, _agent, _assign, _make, end_and_leave_nothing, fused, graphs
from tests.unit.worker_world import JOB, World, expected_value, filled_with, graph_of


def _resume(world: World, told: list[Events], chains: list[list[int]], attempts: dict[int, int], rng) -> None:
    """What the other services do: whatever no host holds is made again, anywhere."""
    home = {dataset: world.names.index(events.host) for events in told for dataset in events.produced}
    again = [task for task in range(len(world.inputs)) if task not in home]
    home.update((task, rng.randrange(len(world.names))) for task in again)
    for task in again:
        attempts[task] = attempts.get(task, 0) + 1
        chains.append([task])
        name = world.names[home[task]]
        world.agents[name].handle(LogRead([world._assign(name, [(len(chains) - 1, [task])], home, attempts)]))


def _bytes_of(world: World, events: Events, dataset: int) -> bytes:
    """The value of a dataset as a host has it."""
    entry = world.agents[events.host].jobs[JOB].entries[dataset]
    if entry.value is not None:
        return entry.value
    if entry.block is not None:
        return filled_with(bytes(world.memory[events.host][entry.block.offset : entry.block.offset + entry.block.nbytes]))
    return filled_with(world.disk[events.host, entry.spill_key])


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(1, 3), st.integers(1, 2), st.booleans(), st.randoms(use_true_random=False))
def test_hosts_that_join_again_at_any_moment_still_hold_what_they_say_and_go_on(graph, hosts, runners, spills, rng):
    inputs, outputs = graph
    large = {d: rng.choice([9_000, 20_000]) for d in range(len(inputs)) if rng.random() < 0.7}
    world = World(inputs, outputs, large, hosts, runners, capacity=80_000 if spills else 1 << 22, spills=spills, part_chains=3)
    world.slabs = {dataset for dataset in large if rng.random() < 0.3}
    chains = fused(inputs, outputs, rng)
    world.assign(chains, [rng.randrange(hosts) for _ in chains], list(range(len(chains))))
    attempts, memo, known = dict[int, int](), dict[int, bytes](), dict[int, bytes]()
    for _ in range(rng.randrange(1, 3)):
        for _ in range(rng.randrange(120)):
            world.step(rng)
        world.pump()
        told = world.rejoin()
        for events in told:
            assert (events.epoch, events.rejoining) == (world.epoch, True)
            for dataset in events.produced:
                if dataset not in events.value_ids:
                    assert _bytes_of(world, events, dataset) == expected_value(inputs, dataset, memo)
            known.update(zip(events.value_ids, events.values, strict=True))
        _resume(world, told, chains, attempts, rng)
    world.run(rng)
    assert {**known, **world.values()} == {d: expected_value(inputs, d, memo) for d in outputs if d not in large}
    assert {d for events in told for d in events.produced} | world.produced() >= set(outputs)
    end_and_leave_nothing(world, rng)


def _with_outputs() -> Agent:
    agent = _agent()
    _assign(agent, JOB, [[], []], [0, 1], [], [0, 1])
    agent.take()
    _make(agent, 0, 9_000, 1)
    return agent


def test_a_job_that_is_over_brings_back_only_the_outputs_that_are_kept_for_the_client() -> None:
    agent = _with_outputs()
    agent.handle(LogRead([Ended(at=1, term=1, job=JOB, state="done")]))
    agent.handle(Rejoined(8))
    told = list(held(agent.jobs.values(), "h", 8))
    assert [(events.produced, events.sizes, events.epoch, events.rejoining) for events in told] == [([0], [9_000], 8, True)]
    agent.handle(LogRead([Purge(at=1, term=1, job=JOB, host="h0", epoch=8, datasets=[0])]))
    assert not agent.jobs
    assert not agent.memory.store.used


def test_a_job_that_failed_while_the_host_was_away_brings_nothing_back() -> None:
    agent = _with_outputs()
    agent.handle(LogRead([Ended(at=1, term=1, job=JOB, state="failed")]))
    agent.handle(Rejoined(8))
    assert list(held(agent.jobs.values(), "h", 8)) == []
    assert still_true(Events(job=JOB, host="h", epoch=7, produced=[0]), agent.jobs.get(JOB), 8) is None


def test_of_earlier_facts_only_those_are_told_again_that_are_still_true() -> None:
    agent = _with_outputs()
    facts = Events(
        job=JOB, host="h", epoch=7, started=[1], done=[0, 1], produced=[0, 1], produced_attempts=[0, 1], sizes=[9, 8], gone=[1], chains=[3]
    )
    assert still_true(facts, agent.jobs[JOB], 8) == Events(
        job=JOB, host="h", epoch=8, rejoining=True, done=[0, 1], produced=[0], produced_attempts=[0], sizes=[9], chains=[3]
    )
    assert still_true(Events(job=JOB, host="h", epoch=7, gone=[1], produced=[1]), agent.jobs[JOB], 8) is None


def test_a_job_that_is_done_is_taken_up_again_to_make_outputs_that_were_lost() -> None:
    agent = _with_outputs()
    agent.handle(LogRead([Ended(at=1, term=1, job=JOB, state="done")]))
    agent.take()
    agent.handle(RunnerSent(0, [protocol.Closed(1)]))
    late = _again(JOB, 5, 1, [])
    agent.assignments.assign(late, graph_of([[], []], [0, 1]))
    agent.take()
    assert agent.jobs[JOB].ended == "done", "an assignment that came late"
    agent.assignments.assign(msgspec.structs.replace(late, reopens=True), graph_of([[], []], [0, 1]))
    job, frames = agent.jobs[JOB], [action.frame for action in agent.take() if isinstance(action, actions.ToRunner)]
    assert [type(frame) for frame in frames[:2]] == [protocol.OpenJob, protocol.Run]
    assert frames[1].tasks == [1]
    assert frames[1].job == job.number != 1
    assert not any(isinstance(frame, protocol.CloseJob) and frame.job == job.number for frame in frames)
    assert job.entries[0].here, "what was kept is still there"
    agent.handle(LogRead([Ended(at=2, term=1, job=JOB, state="done")]))
    assert list(agent.jobs[JOB].entries) == [0]
    agent.assignments.assign(late, graph_of([[], []], [0, 1]))
    assert not agent.jobs[JOB].chains
