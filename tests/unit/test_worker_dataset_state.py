"""The states of a dataset at a host: the table is what the machines do, and what the docs draw."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from headrace.worker.agent.dataset_state import ABOUT, TRANSITIONS, State, diagram, state_of
from tests.unit.worker_world import JOB, World

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "architecture.md").read_text()
WAYS = {(each.before, each.after) for each in TRANSITIONS}
LARGE = 20_000


def in_one_or_two(before: State, after: State) -> bool:
    """Whether one event can lead from one state to the other: what it changes may be granted, or written to disk, at once."""
    return (before, after) in WAYS or any((before, between) in WAYS and (between, after) in WAYS for between in State)


class Watched(World):
    """Compares the states of all datasets before and after each event. seen: how often each change was seen."""

    def watch(self) -> None:
        """Begin to compare."""
        self.seen: Counter[tuple[State, State]] = Counter()
        self.states = self._states()

    def _states(self) -> dict[tuple[str, int], State]:
        return {
            (name, dataset): state_of(agent.jobs[JOB], dataset, agent.memory.disk)
            for name, agent in self.agents.items()
            for dataset in range(len(self.inputs))
            if JOB in agent.jobs
        }

    def happen(self, kind: str, what: object) -> None:
        """Let one thing happen, and look at what it did."""
        self.compare()
        super().happen(kind, what)
        self.compare()

    def _pump_one(self, name: str) -> bool:
        self.compare()
        return super()._pump_one(name)

    def compare(self) -> None:
        """Assert that every change since the last look is in the table."""
        before, self.states = self.states, self._states()
        for key, after in self.states.items():
            if before.get(key, State.ABSENT) is not after:
                change = before.get(key, State.ABSENT), after
                assert in_one_or_two(*change), f"dataset {key}: {change[0].name} to {change[1].name}"
                self.seen[change] += 1


@pytest.mark.parametrize("seed", range(12))
def test_hosts_change_states_as_the_table_says(seed: int) -> None:
    rng = random.Random(seed)
    n = 24
    inputs = [sorted(rng.sample(range(t), min(t, rng.randrange(3)))) for t in range(n)]
    large = {t: LARGE for t in range(n) if rng.random() < 0.7}
    world = Watched(inputs, [n - 1], large, hosts=2, runners=2, capacity=6 * LARGE, spills=True)
    world.watch()
    world.assign([[t] for t in range(n)], [rng.randrange(2) for _ in range(n)], list(range(n)))
    world.run(rng)
    for dataset in range(n - 1):
        for name in world.names:
            world.purge(name, [dataset])
    world.compare()
    assert sorted(world.done_chains()) == list(range(n))
    assert world.seen[State.AWAITED, State.SMALL] + world.seen[State.ABSENT, State.SMALL]
    assert world.seen[State.MEMORY, State.DROPPED]


def test_every_state_can_be_reached_and_left() -> None:
    assert {each.after for each in TRANSITIONS} == set(State) == {each.before for each in TRANSITIONS}


def test_no_way_is_in_the_table_twice() -> None:
    assert len(WAYS) == len(TRANSITIONS)


def test_the_diagram_in_the_docs_shows_the_table() -> None:
    assert set(ABOUT) == set(State) - {State.ABSENT}
    assert f"```mermaid\n{diagram()}\n```" in TEXT, "run headrace.worker.agent.dataset_state.diagram() and paste what it returns"
