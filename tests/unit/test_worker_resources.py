"""What a host has little of: tasks at its runners never need more together than there is, and all of them run in the end."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.graph.resources import fits
from headrace.runner import protocol
from headrace.worker.agent.events import RunnerDied, RunnerSent, RunnerStarted
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import FunctionSpec, TaskError
from tests.unit.worker_world import SHORT, ModelRunner, World, expected_value

KINDS: list[dict[str, float]] = [{}, {"gpu": 1.0}, {"gpu": 2.0}, {"gpu": 0.1, "big": 1.0}, {"big": 2.0}]
HAS = {"gpu": 2.0, "big": 2.0}


class ScarceWorld(World):
    """One host that has something, and a graph whose tasks need some of it. Looks at the runners after everything that happens."""

    def __init__(
        self, inputs: list[list[int]], kinds: Sequence[int], runners: int, large: dict[int, int] | None = None, has: dict | None = None
    ) -> None:
        self.has = HAS if has is None else has
        self.kinds = kinds
        super().__init__(inputs, [len(inputs) - 1], large or {}, 1, runners, 1 << 16)
        self.graph.functions = [FunctionSpec(name=f"f{k}", module="m", qualname="f", resources=need) for k, need in enumerate(KINDS)]
        self.graph.function = list(kinds)
        self.most = 0.0

    def settings(self, host: str, runners: int) -> Settings:
        return Settings(host=host, runners=runners, resources=self.has, unknown_seconds=SHORT)

    @property
    def agent(self) -> Agent:
        """Of the only host."""
        return self.agents["h0"]

    def step(self, rng: random.Random) -> bool:
        happened = super().step(rng)
        self.look()
        return happened

    def look(self) -> None:
        """What the chains that are at runners need together is there."""
        total: dict[str, float] = {}
        for runner in self.runners.values():
            for chain in {chain_of(self, task) for task in tasks_at(runner)}:
                for name, amount in KINDS[self.kinds[chain]].items():
                    total[name] = total.get(name, 0.0) + amount
        assert fits(total, self.has), total
        self.most = max(self.most, total.get("gpu", 0.0))

    def assign_all(self, chains: list[list[int]]) -> None:
        self.heads = {task: chain[0] for chain in chains for task in chain}
        self.assign(chains, [0] * len(chains), list(range(len(chains))))

    def kill(self, slot: int) -> None:
        """A runner dies, and another takes its place."""
        self.agent.handle(RunnerDied(slot, None, -9, 1))
        self.runners["h0", slot] = ModelRunner(self, "h0", slot)
        self.agent.handle(RunnerStarted(slot))


def chain_of(world: ScarceWorld, task: int) -> int:
    """The first task of the chain that a task is in."""
    return world.heads[task]


def tasks_at(runner: ModelRunner) -> list[int]:
    """Tasks that a runner has and is not through with."""
    sent = [task for frame in runner.inbox if isinstance(frame, protocol.Run) for task in frame.tasks]
    return sent + [task for item in runner.queue for task in item[2]] + list(runner.deferred)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[list[int]], list[int], list[list[int]]]:
    """Tasks with inputs and kinds, and chains of tasks of one kind."""
    n = draw(st.integers(1, 14))
    inputs = [sorted(draw(st.sets(st.integers(0, t - 1), max_size=2))) if t else [] for t in range(n)]
    kinds = draw(st.lists(st.integers(0, len(KINDS) - 1), min_size=n, max_size=n))
    uses = [sum(d in row for row in inputs) for d in range(n)]
    chains: list[list[int]] = []
    for task in range(n):
        before = [c for c in chains if c[-1] in inputs[task] and uses[c[-1]] == 1 and kinds[c[-1]] == kinds[task]]
        if before and draw(st.booleans()):
            before[0].append(task)
        else:
            chains.append([task])
    return inputs, kinds, sorted(chains, key=lambda chain: chain[-1])


@settings(deadline=None, max_examples=150)
@given(graphs(), st.integers(1, 3), st.booleans(), st.integers(0, 2**32))
def test_never_too_much_at_once_and_everything_runs(graph: tuple, runners: int, large: bool, seed: int) -> None:
    inputs, kinds, chains = graph
    world = ScarceWorld(inputs, kinds, runners, dict.fromkeys(range(0, len(inputs) - 1, 2), 20000) if large else {})
    world.assign_all(chains)
    world.run(random.Random(seed))
    assert sorted(world.done_chains()) == list(range(len(chains)))
    last = len(inputs) - 1
    assert world.values() == {last: expected_value(inputs, last, {})}


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=20), st.integers(1, 3), st.integers(0, 2**32))
def test_runners_that_die_give_back_what_they_held(kinds: list[int], runners: int, seed: int) -> None:
    rng, n = random.Random(seed), len(kinds)
    world = ScarceWorld([[] for _ in range(n)], kinds, runners)
    world.assign_all([[t] for t in range(n)])
    for _ in range(3 * n):
        world.step(rng)
        if rng.random() < 0.3:
            world.kill(rng.randrange(runners))
            world.pump()
            world.look()
    world.run(rng)
    assert sorted(world.done_chains()) == list(range(n))


@pytest.mark.parametrize("runners", [2, 4])
def test_all_of_it_is_used(runners: int) -> None:
    world = ScarceWorld([[] for _ in range(20)], [1] * 20, runners)
    world.assign_all([[t] for t in range(20)])
    world.run(random.Random(1))
    assert world.most == 2.0


def first_of(world: ScarceWorld) -> list[int]:
    """What runners have now."""
    world.pump()
    return sorted(task for runner in world.runners.values() for task in tasks_at(runner))


def test_what_needs_nothing_is_not_held_up() -> None:
    world = ScarceWorld([[] for _ in range(6)], [1, 1, 1, 0, 0, 0], 2, has={"gpu": 1.0})
    world.assign_all([[t] for t in range(6)])
    assert first_of(world) == [0, 3, 4, 5]


def test_nobody_overtakes_one_who_waits_for_the_same() -> None:
    world = ScarceWorld([[] for _ in range(5)], [1, 2, 1, 1, 4], 3)
    world.assign_all([[t] for t in range(5)])
    assert first_of(world) == [0, 4], "the second waits for all GPUs; the third does not take the one that is free"
    next(runner for runner in world.runners.values() if 0 in tasks_at(runner)).step()
    while 0 in first_of(world):
        next(runner for runner in world.runners.values() if 0 in tasks_at(runner)).step()
    assert 1 in first_of(world)
    world.run(random.Random(0))
    assert sorted(world.done_chains()) == [0, 1, 2, 3, 4]


def test_a_chain_that_waits_for_an_input_holds_nothing_meanwhile() -> None:
    """Task 2 is in a chain with task 0, and takes what task 1 makes: all need the only GPU."""
    world = ScarceWorld([[], [], [0, 1]], [1, 1, 1], 2, has={"gpu": 1.0})
    world.outputs = [2]
    world.graph.outputs = [2]
    world.assign_all([[0, 2], [1]])
    world.run(random.Random(3))
    assert sorted(world.done_chains()) == [0, 1]


def test_a_job_that_is_over_holds_it_until_its_runner_is_through() -> None:
    world = ScarceWorld([[], []], [1, 1], 1, has={"gpu": 1.0})
    world.assign_all([[0], [1]])
    assert first_of(world) == [0]
    resources = world.agent.runners._resources
    assert resources is not None
    world.end("cancelled")
    assert resources._free() == {"gpu": 0.0}, "its task may run yet"
    world.run(random.Random(0))
    assert resources._free() == {"gpu": 1.0}


def test_a_task_that_fails_gives_it_back() -> None:
    world = ScarceWorld([[], []], [1, 1], 1, has={"gpu": 1.0})
    world.assign_all([[0], [1]])
    assert first_of(world) == [0]
    runner = world.runners["h0", 0]
    while not runner.queue:
        runner.step()
    segment = runner.queue.popleft()[0]
    world.agent.handle(RunnerSent(0, [protocol.Results(runner.job, failed=[TaskError(task=0)], failed_segments=[segment])]))
    assert first_of(world) == [1]


def test_a_host_that_has_nothing_looks_at_nothing() -> None:
    world = ScarceWorld([[]], [0], 1, has={})
    assert world.agent.runners._resources is None
    world.assign_all([[0]])
    world.run(random.Random(0))
    assert world.done_chains() == [0]
