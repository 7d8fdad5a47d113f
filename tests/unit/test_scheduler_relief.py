"""Hosts that long tasks hold up: they get nothing more while others have runners to spare, and what waits there is placed anew."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bus import Entry
from headrace.ledger import DONE
from headrace.scheduler.placing import Balance, choose_few, choose_many
from headrace.scheduler.relief import share
from headrace.scheduler.settings import Settings
from headrace.scheduler.state import Scheduler
from headrace_schemas import Assign, Ended, Events, GraphSource, GraphSpec, HostJoined, LogMessage, Reroute, Revoke, Submitted
from tests.scheduler_graphs import flat, make_spec, parallel_chains, specs
from tests.scheduler_world import JOB, World
from tests.unit.test_scheduler_state import check_counts

LONG = "long"
"""A job of one task that runs for long."""


class Driver:
    """A scheduler, a log that only this test writes to, and a clock."""

    def __init__(self, runners: int = 1, hosts: str = "ab", **given: object) -> None:
        self.scheduler = Scheduler(Settings(**given), term=1)  # type: ignore[arg-type]
        self.seq, self.now = 0, 0.0
        for name in hosts:
            self.tell(HostJoined(at=0, term=1, host=name, epoch=1, address=f"{name}:1", runners=runners, capacity=1))

    def tell(self, *messages: LogMessage) -> list:
        for message in messages:
            self.seq += 1
            self.scheduler.fold([Entry(self.seq, 0.0, "", message)])
        return self.scheduler.decide()

    def admit(self, spec: GraphSpec, job: str = JOB) -> list:
        return self.tell(Submitted(job=job, name="n", n_tasks=spec.n_tasks, graph=GraphSource(inline=spec)))

    def after(self, seconds: float) -> list:
        self.now += seconds
        self.scheduler.tick(self.now)
        return self.scheduler.decide()

    def hold_up(self, host: str, jobs: int = 1) -> list:
        """Tasks of jobs of their own run on a host for long."""
        decided = []
        for n in range(jobs):
            [assign] = self.admit(flat(1), f"{LONG}{n}")
            assert assign.host == host
            decided += self.tell(Events(job=f"{LONG}{n}", host=host, epoch=1, started=[0]))
        return decided + self.after(Settings().long_seconds)


def placed(decided: list) -> dict[str, list[int]]:
    """Tasks by the host that they were assigned to."""
    found: dict[str, list[int]] = {}
    for message in decided:
        if isinstance(message, Assign):
            found.setdefault(message.host, []).extend(message.tasks)
    return found


def asked(decided: list) -> dict[str, list[int]]:
    """Chains by the host that is to give them back."""
    assert all(isinstance(message, Revoke) for message in decided)
    return {message.host: message.chains for message in decided}


def test_a_job_is_planned_around_a_host_that_is_held_up() -> None:
    driver = Driver()
    assert driver.hold_up("a") == []
    assert placed(driver.admit(flat(20))) == {"b": list(range(20))}


def test_tasks_of_a_graph_that_cannot_be_run_are_not_running() -> None:
    driver = Driver()
    backwards = msgspec.structs.replace(flat(2), inputs=[[1], []])
    driver.admit(backwards)
    driver.tell(Events(job=JOB, host="a", epoch=1, started=[0, 1, 2]))
    assert driver.after(Settings().long_seconds) == []
    assert not driver.scheduler.running.since


def test_also_where_its_inputs_are_there_and_where_it_is_one_chain() -> None:
    driver = Driver()
    driver.hold_up("a")
    assert placed(driver.admit(parallel_chains(1, 5))) == {"b": [0, 1, 2, 3, 4]}


def test_a_single_task_goes_to_a_busy_host_rather_than_behind_a_long_one() -> None:
    driver = Driver()
    driver.hold_up("a")
    driver.admit(flat(5))
    [assign] = driver.admit(flat(1), "single")
    assert assign.host == "b"


def test_where_all_hosts_are_held_up_work_is_spread_as_ever() -> None:
    driver = Driver()
    driver.hold_up("a")
    [assign] = driver.admit(flat(1), "other")
    assert assign.host == "b"
    driver.tell(Events(job="other", host="b", epoch=1, started=[0]))
    driver.after(Settings().long_seconds)
    assert placed(driver.admit(flat(4))) == {"a": [0, 1], "b": [2, 3]}


def test_a_host_of_several_runners_counts_for_those_that_are_free() -> None:
    driver = Driver(runners=4, hosts="a")
    driver.hold_up("a", jobs=3)
    driver.tell(HostJoined(at=0, term=1, host="b", epoch=1, address="b:1", runners=4, capacity=1))
    found = placed(driver.admit(flat(50)))
    assert (len(found["a"]), len(found["b"])) == (10, 40)


def test_a_task_that_ended_holds_up_nobody() -> None:
    driver = Driver()
    driver.hold_up("a")
    driver.tell(Events(job=f"{LONG}0", host="a", epoch=1, chains=[0], produced=[0]))
    driver.after(0.1)
    assert len(placed(driver.admit(flat(20)))["a"]) == 10


def test_a_task_of_a_job_that_is_over_holds_up_nobody() -> None:
    driver = Driver()
    driver.hold_up("a")
    driver.tell(Ended(at=1, term=1, job=f"{LONG}0", state="cancelled"))
    driver.after(0.1)
    assert len(placed(driver.admit(flat(20)))["a"]) == 10
    assert not driver.scheduler.running.since


def test_what_waits_behind_a_long_task_is_asked_back_once_another_host_is_idle() -> None:
    driver = Driver()
    driver.admit(flat(1), f"{LONG}0")
    assert placed(driver.admit(flat(8))) == {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]}
    driver.tell(Events(job=f"{LONG}0", host="a", epoch=1, started=[0]))
    assert driver.after(Settings().long_seconds) == [], "nobody is idle"
    assert asked(driver.tell(Events(job=JOB, host="b", epoch=1, chains=[4, 5, 6, 7]))) == {"a": [0, 1]}, "half of it"
    assert driver.after(0.2) == [], "they were asked for"
    decided = driver.tell(Events(job=JOB, host="a", epoch=1, revoked=[0, 1]))
    assert placed(decided) == {"b": [0, 1]}
    assert driver.scheduler.load == {"a": 3, "b": 2}
    assert asked(driver.tell(Events(job=JOB, host="b", epoch=1, chains=decided[0].chains))) == {"a": [2]}
    [assign] = driver.tell(Events(job=JOB, host="a", epoch=1, revoked=[2]))
    assert (assign.host, assign.tasks) == ("b", [2])
    assert asked(driver.tell(Events(job=JOB, host="b", epoch=1, chains=assign.chains))) == {"a": [3]}, "and the last one"


def test_a_job_of_one_task_that_waits_behind_a_long_one_is_asked_back_too() -> None:
    driver = Driver(hosts="a")
    driver.admit(flat(1), f"{LONG}0")
    driver.admit(flat(1), "single")
    driver.tell(Events(job=f"{LONG}0", host="a", epoch=1, started=[0]))
    driver.after(Settings().long_seconds)
    [revoke] = driver.tell(HostJoined(at=0, term=1, host="b", epoch=1, address="b:1", runners=1, capacity=1))
    assert (revoke.job, revoke.host, revoke.chains) == ("single", "a", [0])
    [assign] = driver.tell(Events(job="single", host="a", epoch=1, revoked=[0]))
    assert (assign.host, assign.tasks, assign.attempts) == ("b", [0], [])
    assert assign.graph is not None
    assert driver.scheduler.load == {"a": 1, "b": 1}


def test_a_chain_is_moved_whole_and_its_takers_are_told() -> None:
    """Tasks 0 to 2 are a chain on a host that is held up; task 4 takes what it makes, and waits there too."""
    driver = Driver(hosts="a")
    driver.hold_up("a")
    driver.admit(make_spec([[], [0], [1], [], [2, 3], [2]], outputs=[4, 5]))
    [chain] = asked(driver.tell(HostJoined(at=0, term=1, host="b", epoch=1, address="b:1", runners=1, capacity=1)))["a"]
    assign, reroute = driver.tell(Events(job=JOB, host="a", epoch=1, revoked=[chain]))
    assert (assign.host, assign.lengths, assign.tasks) == ("b", [3], [0, 1, 2])
    assert isinstance(reroute, Reroute)
    assert (reroute.host, reroute.datasets, reroute.hosts[reroute.sources[0]]) == ("a", [2], "b")


def test_what_a_host_cannot_take_is_not_asked_for_it() -> None:
    spec = flat(6)
    spec.functions = [msgspec.structs.replace(spec.functions[0], resources={"gpu": 1.0})]
    driver = Driver(hosts="")
    driver.tell(HostJoined(at=0, term=1, host="a", epoch=1, address="a:1", runners=1, capacity=1, resources={"gpu": 1.0}))
    driver.admit(spec)
    driver.tell(Events(job=JOB, host="a", epoch=1, started=[0]))
    driver.after(Settings().long_seconds)
    driver.tell(HostJoined(at=0, term=1, host="b", epoch=1, address="b:1", runners=1, capacity=1))
    assert driver.after(0.2) == []
    decided = driver.tell(HostJoined(at=0, term=1, host="c", epoch=1, address="c:1", runners=1, capacity=1, resources={"gpu": 1.0}))
    assert set(asked(decided)) == {"a"}


def test_what_was_not_released_to_a_host_that_is_held_up_is_moved_at_once() -> None:
    driver = Driver(hosts="a", window_tasks=4, window_tasks_per_runner=1)
    driver.hold_up("a")
    assert placed(driver.admit(flat(20))) == {"a": [0, 1, 2, 3]}
    decided = driver.tell(HostJoined(at=0, term=1, host="b", epoch=1, address="b:1", runners=1, capacity=1))
    assert placed(decided)["b"] == [8, 9, 10, 11], "its share, as far as its window goes"
    assert driver.scheduler.load == {"a": 9, "b": 12}
    for _ in range(100):
        tasks = placed(decided).get("b", [])
        revoked = [chain for message in decided if isinstance(message, Revoke) for chain in message.chains]
        decided = driver.tell(Events(job=JOB, host="b", epoch=1, done=tasks), Events(job=JOB, host="a", epoch=1, revoked=revoked))
        decided += driver.after(0.2)
    assert driver.scheduler.ledger.jobs[JOB].n_done == 20


def test_what_waits_for_inputs_stays() -> None:
    spec = make_spec([[], [0], [0], [0], [0]])
    driver = Driver()
    driver.admit(spec)
    host = driver.scheduler.ledger.jobs[JOB].hosts[0]
    driver.tell(Events(job=JOB, host=host, epoch=1, started=[0]))
    assert driver.after(Settings().long_seconds) == []


@pytest.mark.parametrize(("waiting", "spare", "runners", "expected"), [(100, 1, 1, 50), (100, 3, 1, 75), (1, 1, 8, 1), (3, 1, 8, 1)])
def test_idle_hosts_get_their_share_and_at_least_one(waiting: int, spare: int, runners: int, expected: int) -> None:
    assert share(waiting, spare, runners) == expected


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.0, 2.0, float("inf")])), min_size=1, max_size=4),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_a_host_that_is_to_get_nothing_gets_nothing_while_there_are_others(hosts, n, rng) -> None:  # type: ignore[no-untyped-def]
    import numpy as np

    balance = Balance([float(rate) for rate, _ in hosts], [free for _, free in hosts])
    costs = [float(rng.randint(1, 3)) for _ in range(n)]
    votes = [[float(rng.randint(0, 2)) for _ in hosts] for _ in range(n)]
    shares, level = balance.shares(sum(costs), 0.0)
    few = choose_few(costs, votes, shares, 0.5)
    assert few == choose_many(np.array(costs), np.array(votes), shares, 0.5).tolist()
    able = [host for host, (_, free) in enumerate(hosts) if free < float("inf")] or list(range(len(hosts)))
    assert set(few) <= set(able)
    assert level < float("inf")
    balance.add_work(np.bincount(few, costs, len(hosts)).tolist(), 0.0)
    assert balance.done < float("inf")


@settings(deadline=None, max_examples=100)
@given(specs(), st.integers(1, 3), st.randoms(use_true_random=False))
def test_with_hosts_that_are_held_up_for_ever_everything_runs_on_the_others(spec, runners, rng) -> None:  # type: ignore[no-untyped-def]
    """Host a begins what it is given first, as many tasks as it has runners, and never ends it; but it gives back what it was asked for."""
    world = World(Settings(chain_tasks=3, message_integers=12))
    world.join("a", runners)
    if rng.random() < 0.5:
        world.join("b", 2)
    world.admit(spec)
    world.deliver(len(world.log))
    world.join("b", 2)
    stuck: set[int] = set()
    quiet = 0
    for _ in range(40 * spec.n_tasks):
        before = len(world.log)
        host = world.hosts["a"]
        while len(host.started) < runners:
            world.start("a", len(host.started) + 1)
            if len(host.started) == len(stuck):
                break
            stuck = set(host.started)
        world.deliver(len(world.log))
        world.pass_time(0.3)
        world.give_back("a")
        world.deliver(len(world.log))
        world.work("b", rng.randint(1, 3))
        check_counts(world)
        quiet = quiet + 1 if len(world.log) == before else 0
        if quiet == 10:
            break
    waits_for_stuck = set(stuck)
    job = world.job
    for task in range(job.n_tasks):
        if any(int(job.topology.producer[d]) in waits_for_stuck for d in job.topology.inputs_of(task).tolist()):
            waits_for_stuck.add(task)
    undone = {task for task in range(job.n_tasks) if job.states[task] != DONE}
    chained = {task for chain in host.chains.values() if stuck & set(chain) for task in chain}
    for task in range(job.n_tasks):
        if any(int(job.topology.producer[d]) in chained for d in job.topology.inputs_of(task).tolist()):
            chained.add(task)
    assert undone <= waits_for_stuck | chained
