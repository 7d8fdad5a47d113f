"""Chains that are placed anew keep their position in the plan: a retry runs before the tasks that follow it there."""

from __future__ import annotations

from headrace_schemas import Assign, Events, FunctionProfile, HostJoined, HostLost, Needed
from tests.scheduler_graphs import flat, make_spec, parallel_chains
from tests.scheduler_world import JOB
from tests.unit.test_scheduler_relief import Driver


def only(decided: list) -> Assign:
    [assign] = [message for message in decided if isinstance(message, Assign)]
    return assign


def test_chains_of_the_plan_have_their_ids_as_positions() -> None:
    assert only(Driver(hosts="a").admit(flat(40))).positions == []


def test_a_retry_has_the_position_of_the_task() -> None:
    driver = Driver(hosts="a")
    driver.admit(flat(40))
    assign = only(driver.tell(Needed(at=2, term=1, job=JOB, tasks=[3, 7], attempts=[1, 1])))
    assert (assign.chains, assign.tasks, assign.positions) == ([40, 41], [3, 7], [3, 7])


def test_a_second_retry_too() -> None:
    driver = Driver(hosts="a")
    driver.admit(flat(40))
    driver.tell(Needed(at=2, term=1, job=JOB, tasks=[3], attempts=[1]))
    assign = only(driver.tell(Needed(at=4, term=1, job=JOB, tasks=[3], attempts=[2])))
    assert (assign.chains, assign.tasks, assign.positions) == ([41], [3], [3])


def test_the_only_task_of_a_job_too() -> None:
    driver = Driver(hosts="a")
    driver.admit(flat(1))
    assert only(driver.tell(Needed(at=2, term=1, job=JOB, tasks=[0], attempts=[1]))).positions == [0]


def test_a_task_in_a_chain_has_the_position_of_its_chain() -> None:
    driver = Driver(hosts="a")
    planned = only(driver.admit(parallel_chains(3, 4)))
    assert planned.lengths == [4, 4, 4]
    assign = only(driver.tell(Needed(at=2, term=1, job=JOB, tasks=[planned.tasks[6]], attempts=[1])))
    assert assign.positions == [1]


def test_what_was_lost_with_a_host_keeps_its_position_elsewhere() -> None:
    driver = Driver(hosts="ab")
    driver.admit(flat(8))
    driver.tell(HostLost(at=3, term=1, host="a", epoch=1))
    assign = only(driver.tell(Needed(at=4, term=1, job=JOB, tasks=[0, 1, 2, 3], attempts=[1] * 4)))
    assert (assign.host, assign.tasks, assign.positions) == ("b", [0, 1, 2, 3], [0, 1, 2, 3])


def test_what_was_given_back_keeps_its_position() -> None:
    driver = Driver()
    driver.admit(flat(200))
    profile = [FunctionProfile(function=0, count=100, total=5.0, longest=0.05)]
    driver.tell(
        Events(job=JOB, host="a", epoch=1, chains=list(range(5)), profile=[FunctionProfile(function=0, count=5, total=1.0, longest=0.2)])
    )
    driver.tell(Events(job=JOB, host="b", epoch=1, chains=list(range(100, 200)), profile=profile))
    [revoke] = driver.after(0.1)
    assign = only(driver.tell(Events(job=JOB, host="a", epoch=1, revoked=revoke.chains)))
    assert assign.positions == assign.tasks == revoke.chains


def test_a_scheduler_that_takes_over_knows_the_positions() -> None:
    driver = Driver(hosts="a")
    spec = make_spec([[], [0], [], [2], []])
    [plan, assign] = driver.admit(spec)
    heads = {assign.tasks[sum(assign.lengths[:k])]: chain for k, chain in enumerate(assign.chains)}
    other = Driver(hosts="a")
    other.scheduler.term = 2
    other.admit(spec)
    other.tell(plan, assign)
    task = assign.tasks[0]
    assert only(other.tell(Needed(at=9, term=1, job=JOB, tasks=[task], attempts=[1]))).positions == [heads[task]]


def test_a_host_that_joins_later_changes_no_position() -> None:
    driver = Driver(hosts="a")
    driver.admit(flat(6))
    driver.tell(HostJoined(at=3, term=1, host="b", epoch=1, address="b:1", runners=1, capacity=1))
    assert only(driver.tell(Needed(at=4, term=1, job=JOB, tasks=[5], attempts=[1]))).positions == [5]
