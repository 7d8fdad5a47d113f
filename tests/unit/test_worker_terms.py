"""Decisions of former leaders that reach a host late."""

from __future__ import annotations

from headrace_schemas import Ended, TermBegan
from tests.unit.worker_world import JOB, World


def assigned(world: World, chain: int, term: int) -> None:
    message = world._assign("h0", [(chain, [0])], {0: 0}, {})
    message.term = term
    world.agents["h0"].assignments.assign(message, world.graph)


def test_an_end_by_a_former_controller_does_not_count_and_one_by_the_new_controller_does() -> None:
    world = World([[]], [0], {}, 1, 1, capacity=1 << 20)
    assigned(world, 0, term=1)
    agent = world.agents["h0"]
    agent.assignments.term_began(TermBegan(at=1, term=5, service="controller"))
    agent.assignments.end(Ended(at=1, term=4, job=JOB, state="done"))
    assert not agent.jobs[JOB].ended
    agent.assignments.end(Ended(at=1, term=5, job=JOB, state="cancelled"))
    assert JOB not in agent.jobs


def test_an_assignment_by_a_former_scheduler_does_not_count() -> None:
    world = World([[]], [0], {}, 1, 1, capacity=1 << 20)
    assigned(world, 0, term=1)
    agent = world.agents["h0"]
    agent.assignments.term_began(TermBegan(at=1, term=5, service="scheduler"))
    assigned(world, 1, term=4)
    assert list(agent.jobs[JOB].chains) == [0]


def test_terms_of_one_service_say_nothing_of_the_other() -> None:
    world = World([[]], [0], {}, 1, 1, capacity=1 << 20)
    world.agents["h0"].assignments.term_began(TermBegan(at=1, term=5, service="controller"))
    assigned(world, 0, term=1)
    assert list(world.agents["h0"].jobs[JOB].chains) == [0]
