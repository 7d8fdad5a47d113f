"""Hosts that die, and links that break, under the real state machines of a cluster: the job ends with the right values all the same."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.scheduler.settings import Settings
from tests.unit.cluster_world import ClusterWorld
from tests.unit.test_worker_agent import graphs
from tests.unit.worker_world import expected_value

SAY_AGAIN = Settings().say_again_seconds


def weather(world: ClusterWorld, rng: random.Random, deaths: int) -> None:
    """Things happen, and hosts die and come back, until so many have died."""
    for _ in range(400):
        if not world.step(rng):
            world.wait()
        if world.job.end is not None:
            return
        if deaths and rng.random() < 0.05:
            world.kill(rng.choice(world.names))
            deaths -= 1
        if world.down and rng.random() < 0.05:
            world.revive(rng.choice(sorted(world.down)))
        if rng.random() < 0.02:
            world.cut(rng.choice(world.names), rng.choice(world.names))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(2, 3), st.integers(0, 3), st.randoms(use_true_random=False))
def test_a_job_ends_well_whatever_dies_and_whoever_reads_how_late(graph, hosts, deaths, rng) -> None:
    inputs, outputs = graph
    large = {dataset: rng.choice([9_000, 20_000]) for dataset in range(len(inputs)) if rng.random() < 0.4}
    world = ClusterWorld(inputs, outputs, large, hosts)
    weather(world, rng, deaths)
    world.finish(rng)
    assert world.job.end is not None
    assert (world.job.end.state, world.job.end.reason) == ("done", "")
    memo: dict[int, bytes] = {}
    small = {dataset for dataset in outputs if dataset not in world.large}
    assert {dataset: value for dataset, value in world.values().items() if dataset in small} == {
        dataset: expected_value(inputs, dataset, memo) for dataset in small
    }
    for times in world.reroutes().values():
        assert all(later - earlier >= SAY_AGAIN for earlier, later in pairwise(times)), "a reroute is repeated only after a while"
