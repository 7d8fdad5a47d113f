"""A controller that takes over decides what the one before would have: nothing depends on what only the old one had looked at."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.controller.replay import check
from headrace.controller.state import Controller
from headrace.ledger import FAILED
from headrace_schemas import Ended, Needed, TermBegan
from tests.unit.controller_world import JOB, World, told

worlds = given(seed=st.integers(0, 10**9), n_tasks=st.integers(1, 14), n_hosts=st.integers(1, 3), retries=st.integers(0, 2))


def broken(seed: int, n_tasks: int, n_hosts: int, retries: int, crash: float = 0.0, late: bool = False) -> World:
    return World(seed, n_tasks, n_hosts, fail=0.1, die=0.05, lose=0.01, lapse=0.02, crash=crash, retries=retries, late=late)


def end(decisions: list[object]) -> str:
    return next((decision.state for decision in decisions if isinstance(decision, Ended)), "")


def taken_over(world: World, at: int) -> tuple[Controller, list[object]]:
    """A new controller that has read the log up to `at`, and what it decides."""
    new = Controller(world.term + 1)
    for entry in world.log[:at]:
        new.fold(entry)
    return new, list(new.decide(at))


def asked_late(world: World) -> bool:
    """Whether the log says, or will say, that tasks must run again after something that the old controller read after it had decided so.
    The new one may read that they were done, and everything with them; the old one waits for them."""
    said = [(entry.seq, entry.message) for entry in world.log]
    said += [(len(world.log) + 1, decision) for decision in world.controller_outbox]
    return any(isinstance(message, Needed) and seq > message.at + 1 for seq, message in said)


@worlds
@example(seed=58449, n_tasks=9, n_hosts=1, retries=0)  # the outputs of a job that the old one ended were lost before it could say so
@example(seed=395007398, n_tasks=6, n_hosts=2, retries=0)  # the old one did not say which tasks must run again before they were back
@example(seed=412598600, n_tasks=5, n_hosts=3, retries=1)  # the old one said so after they were back
@settings(max_examples=150, deadline=None)
def test_a_new_controller_ends_a_job_that_the_old_one_had_not_said_to_be_over(seed: int, n_tasks: int, n_hosts: int, retries: int) -> None:
    world = broken(seed, n_tasks, n_hosts, retries)
    for _ in range(world.rnd.randrange(200)):
        if world.ended():
            return
        world.step()
    for entry in world.log[world.controller_read :]:
        world.controller.fold(entry)
    old = [*world.controller_outbox, *world.controller.decide(len(world.log))]
    ends = {end(old), "done"} if asked_late(world) else {end(old)}
    ended_at = next((decision.at for decision in old if isinstance(decision, Ended)), len(world.log))
    assert end(taken_over(world, ended_at)[1]) in ends
    new, decisions = taken_over(world, len(world.log))
    job = new.ledger.jobs[JOB]
    lost_since = end(old) == "done" and ended_at < len(world.log) and job.n_missing
    assert end(decisions) in ({""} if lost_since else ends)
    failed = [task for task in range(n_tasks) if job.states[task] == FAILED]
    assert job.end is not None or all(map(job.is_paused, failed)), "a failure that nobody looks at"
    assert job.end is not None or not failed or new.next_due is not None, "a pause that never ends"


@worlds
@settings(max_examples=100, deadline=None)
def test_jobs_end_however_often_the_controller_is_replaced(seed: int, n_tasks: int, n_hosts: int, retries: int) -> None:
    world = broken(seed, n_tasks, n_hosts, retries, crash=0.1)
    assert world.run() in ("done", "failed")
    assert check(world.log) == []


@worlds
@settings(max_examples=150, deadline=None)
def test_jobs_end_though_decisions_of_a_controller_come_after_it_was_replaced(seed: int, n_tasks: int, n_hosts: int, retries: int) -> None:
    world = broken(seed, n_tasks, n_hosts, retries, crash=0.1, late=True)
    assert world.run() in ("done", "failed")


@worlds
@settings(max_examples=40, deadline=None)
def test_a_job_ends_for_everybody_alike_whatever_former_controllers_say_late(seed: int, n_tasks: int, n_hosts: int, retries: int) -> None:
    world = broken(seed, n_tasks, n_hosts, retries, crash=0.1, late=True)
    world.run()
    job, seen = world.settle(), world.reader.jobs[JOB]
    assert job.phase == seen.phase
    assert job.phase != "done" or told(job) == told(seen)


@worlds
@settings(max_examples=100, deadline=None)
def test_a_late_end_counts_for_everybody_or_for_nobody(seed: int, n_tasks: int, n_hosts: int, retries: int) -> None:
    """A controller decides the end of a job, and leads no more; hosts are lost with outputs. Some of what it decided is in the log when the
    next term begins. The rest comes when the new controller has decided, before that is in the log."""
    world = broken(seed, n_tasks, n_hosts, retries)
    while not end(world.controller_outbox):
        world.step()
        if world.ended():
            return
    for host in list(world.hosts.values()):
        if world.rnd.random() < 0.7:
            world.lose_host(host)
    late = world.controller_outbox
    early = world.rnd.randint(0, len(late) - 1)
    for message in [*late[:early], TermBegan(at=len(world.log), term=world.term + 1, service="controller")]:
        world.append(message)
    begin = len(world.log)
    new, decisions = taken_over(world, begin)
    for message in [*late[early:], *decisions]:
        world.append(message)
    for entry in world.log[begin:]:
        new.fold(entry)
    job, seen = new.ledger.jobs[JOB], world.reader.jobs[JOB]
    assert (job.phase, job.attempts) == (seen.phase, seen.attempts)
