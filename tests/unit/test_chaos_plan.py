"""Plans of chaos: seeded, within their limits, and of the kinds that were asked for."""

from __future__ import annotations

import pytest

from tests.chaos.faults import KINDS
from tests.chaos.injecting import ACTIONS
from tests.chaos.plan import SOAK_EVERY, draw_plan, draw_soak

SEEDS = range(100)


def test_one_seed_gives_one_plan_and_other_seeds_give_others() -> None:
    kinds = list(KINDS)
    assert draw_plan(3, kinds) == draw_plan(3, kinds)
    assert len({repr(draw_plan(seed, kinds)) for seed in SEEDS}) == len(SEEDS)


def test_every_kind_of_fault_is_drawn_and_can_be_done() -> None:
    drawn = {fault.kind for seed in SEEDS for fault in draw_plan(seed, list(KINDS)).faults}
    assert drawn == set(KINDS)
    assert {kind.action for kind in KINDS.values()} == set(ACTIONS)


@pytest.mark.parametrize("name", KINDS)
def test_faults_are_of_the_kind_that_was_asked_for_and_within_its_times(name: str) -> None:
    for seed in range(10):
        plan = draw_plan(seed, [name])
        assert plan.kinds == {name}
        assert list(plan.faults) == sorted(plan.faults, key=lambda fault: fault.at)
        shortest, longest = KINDS[name].lasts
        assert all(shortest <= fault.seconds <= longest for fault in plan.faults)


def test_a_seed_has_little_enough_work_to_last_seconds() -> None:
    for seed in SEEDS:
        plan = draw_plan(seed, list(KINDS))
        work = sum(job.graph.seconds for jobs in plan.clients for job in jobs)
        assert work <= 3.5 * plan.topology.hosts * plan.topology.runners


def test_a_soak_has_a_fault_every_few_seconds_until_its_end() -> None:
    plan = draw_soak(1, ["kill-worker", "stop-nats"], 60.0)
    assert [fault.at for fault in plan.faults] == [SOAK_EVERY * (index + 1) for index in range(20)]
    assert plan.kinds == {"kill-worker", "stop-nats"}
    assert plan == draw_soak(1, ["kill-worker", "stop-nats"], 60.0)
