"""Tasks that need something of their host: planned, placed again and moved only to where that is."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.graph.needs import Needs
from headrace.graph.resources import fits
from headrace.graph.topology import Topology
from headrace.scheduler.chains import Chains
from headrace.scheduler.fitting import NO_HOST, Demand, choose_fit, cut, rates_of
from headrace.scheduler.placing import Balance
from headrace.scheduler.wave_plan import Costs, Placed, plan
from headrace_schemas import Assign, GraphSpec, HostJoined, HostLost, Needed, Plan
from headrace_schemas.graph import FunctionSpec
from tests.scheduler_graphs import make_spec, specs
from tests.scheduler_world import JOB, World
from tests.unit.test_scheduler_state import CALM, HOSTS, TINY, Driver, weather

AMOUNTS = st.sampled_from([0.5, 1.0, 2.0])
RESOURCES = st.dictionaries(st.sampled_from(["gpu", "big"]), AMOUNTS, max_size=2)
STORM = st.one_of(
    CALM,
    st.tuples(st.just("lose"), st.sampled_from(HOSTS)),
    st.tuples(st.just("join"), st.sampled_from(HOSTS), st.integers(1, 3), RESOURCES),
    st.tuples(st.just("say_gone"), st.sampled_from(HOSTS), st.integers(0, 99)),
    st.tuples(st.just("need")),
)


@st.composite
def needy(draw: Any) -> GraphSpec:
    """Any graph, its tasks of functions that need one thing or another."""
    spec: GraphSpec = draw(specs())
    kinds = draw(st.lists(RESOURCES, min_size=1, max_size=4))
    spec.functions = [
        FunctionSpec(name=f"{each.name}{k}", module="m", qualname="f", generator=each.generator, resources=kind)
        for k, kind in enumerate(kinds)
        for each in spec.functions
    ]
    spec.function = [function + 2 * draw(st.integers(0, len(kinds) - 1)) for function in spec.function]
    return spec


def needs_of(spec: GraphSpec) -> list[dict[str, float]]:
    return [spec.functions[function].resources for function in spec.function]


HOST = st.tuples(st.integers(1, 4).map(float), RESOURCES)


@given(needy(), st.lists(HOST, min_size=1, max_size=4), st.booleans())
def test_a_plan_puts_every_task_where_its_needs_are(spec: GraphSpec, hosts: list[tuple[float, dict]], measured: bool) -> None:
    topology, needs = Topology.from_spec(spec), Needs.of(spec)
    if needs is None:
        return
    hosts.append((1.0, {"gpu": 2.0, "big": 2.0}))
    runners, has = [r for r, _ in hosts], [h for _, h in hosts]
    demand = Demand(needs.of_tasks(topology), rates_of(needs, runners, has))
    costs = Costs(function_seconds=tuple(0.1 * (k + 1) for k in range(len(spec.functions)))) if measured else Costs()
    placed = plan(topology, Balance(runners), costs, 8, demand)
    assert sorted(placed.tasks) == list(range(spec.n_tasks))
    expect_fit(placed, needs_of(spec), has)
    expect_order(placed, topology)


def expect_fit(placed: Placed, needs: list[dict[str, float]], has: list[dict[str, float]]) -> None:
    start = 0
    for length, host in zip(placed.lengths, placed.placed, strict=True):
        chain = placed.tasks[start : start + length]
        start += length
        assert all(fits(needs[task], has[host]) for task in chain)
        assert all(needs[task] == needs[chain[0]] for task in chain), "a chain needs one thing throughout"


def expect_order(placed: Placed, topology: Topology) -> None:
    """Whatever a chain takes from outside is made in an earlier one."""
    chain_of = dict(zip(placed.tasks, np.repeat(np.arange(len(placed.lengths)), placed.lengths).tolist(), strict=True))
    seen: set[int] = set()
    for task in placed.tasks:
        makers = {int(topology.producer[dataset]) for dataset in topology.inputs_of(task)}
        assert makers <= seen
        assert all(chain_of[maker] <= chain_of[task] for maker in makers)
        seen.add(task)


def test_chains_are_cut_where_needs_change() -> None:
    chains = cut(Chains([3, 1, 4], [0, 1, 2, 3, 4, 5, 6, 7]), np.array([0, 1, 1, 1, 0, 0, 2, 0], dtype=np.int32))
    assert chains == Chains([1, 2, 1, 2, 1, 1], [0, 1, 2, 3, 4, 5, 6, 7])


def test_rates_are_what_a_host_runs_at_once() -> None:
    needs = Needs([{}, {"gpu": 1.0}, {"gpu": 0.5, "big": 1.0}], [])
    rates = rates_of(needs, [4.0, 2.0, 8.0], [{"gpu": 1.0}, {}, {"gpu": 2.0, "big": 3.0}])
    assert rates.tolist() == [[4.0, 2.0, 8.0], [1.0, 0.0, 2.0], [0.0, 0.0, 3.0]]


def test_work_is_shared_by_how_much_of_the_resource_there_is() -> None:
    balance, n = Balance([4.0, 4.0, 4.0]), 100
    chosen, _ = choose_fit(np.ones(n), np.zeros((n, 3)), np.zeros(n, dtype=np.int64), np.array([[3.0, 1.0, 0.0]]), balance, 0.0, 0.5)
    assert np.bincount(chosen, minlength=3).tolist() == [75, 25, 0]


def test_what_anyone_can_do_goes_where_the_others_are_not() -> None:
    kinds = np.array([0] * 10 + [1] * 10)
    chosen, _ = choose_fit(np.ones(20), np.zeros((20, 2)), kinds, np.array([[1.0, 1.0], [1.0, 0.0]]), Balance([1.0, 1.0]), 0.0, 0.5)
    assert chosen.tolist() == [1] * 10 + [0] * 10
    none, _ = choose_fit(np.ones(1), np.zeros((1, 2)), np.array([0]), np.zeros((1, 2)), Balance([1.0, 1.0]), 0.0, 0.5)
    assert none.tolist() == [NO_HOST]


@settings(deadline=None, max_examples=200)
@given(needy(), st.lists(RESOURCES, max_size=3), st.lists(STORM, max_size=40))
def test_no_host_is_given_what_it_cannot_run_and_everything_runs_in_the_end(spec: GraphSpec, hosts: list, steps: list[tuple]) -> None:
    """`World` checks every assignment."""
    world = World(TINY)
    for name, resources in zip(HOSTS, hosts, strict=False):
        world.join(name, 1, resources)
    world.admit(spec)
    weather(world, steps)


# --- single cases ---------------------------------------------------------------------------------------------------


def has(name: str, epoch: int = 1, **resources: float) -> HostJoined:
    return HostJoined(at=0, term=1, host=name, epoch=epoch, address=f"{name}:1", runners=1, capacity=1, resources=resources)


def on_gpus(n: int) -> GraphSpec:
    """Tasks without inputs, the even ones of which need a GPU."""
    spec = make_spec([[] for _ in range(n)], function=[t % 2 for t in range(n)])
    spec.functions = [FunctionSpec(name=name, module="m", qualname=name, resources=r) for name, r in (("gpu", {"gpu": 1.0}), ("cpu", {}))]
    return spec


def assigned(decisions: list) -> dict[str, list[int]]:
    return {m.host: m.tasks for m in decisions if isinstance(m, Assign)}


def test_a_job_waits_until_all_of_it_can_run() -> None:
    driver = Driver(hosts=1)
    assert driver.admit(on_gpus(2)) == []
    assert driver.scheduler.status()["waiting"] == [JOB]
    decisions = driver.tell(has("g", gpu=1))
    assert isinstance(decisions[0], Plan)
    assert assigned(decisions) == {"a": [1], "g": [0]}


def test_the_only_task_of_a_job_goes_where_its_needs_are() -> None:
    driver = Driver(hosts=2)
    driver.tell(has("g", gpu=1))
    assert assigned(driver.admit(on_gpus(1))) == {"g": [0]}
    assert driver.admit(on_gpus(1), "again") != []
    assert driver.scheduler.load["g"] == 2


def test_what_waits_for_a_lost_host_waits_for_another_that_can() -> None:
    driver = Driver(hosts=1)
    driver.tell(has("g", gpu=1))
    first = assigned(driver.admit(on_gpus(20)))
    lost = [task for task in range(0, 20, 2) if task not in first["g"]]
    driver.tell(HostLost(at=3, term=1, host="g", epoch=1))
    assert driver.tell(Needed(at=3, term=1, job=JOB, tasks=first["g"], attempts=[1] * len(first["g"]))) == []
    schedule = driver.scheduler.schedules[JOB]
    assert sorted(schedule.job.chains.expand(schedule.stranded)[0].tolist()) == lost
    assert schedule.unplaced == set(first["g"])
    back = driver.tell(has("h", gpu=2))
    assert {task for m in back for task in m.tasks} <= set(range(0, 20, 2))
    assert {m.host for m in back} == {"h"}
    assert set(first["g"]) <= {task for m in back for task in m.tasks}


def test_a_host_that_comes_back_without_the_resource_gets_none_of_it() -> None:
    driver = Driver(hosts=1)
    driver.tell(has("g", gpu=1))
    first = assigned(driver.admit(on_gpus(20)))
    driver.tell(has("g", epoch=2))
    decisions = driver.tell(Needed(at=3, term=1, job=JOB, tasks=first["g"], attempts=[1] * len(first["g"])))
    assert all(task % 2 for m in decisions for task in getattr(m, "tasks", []))


def test_a_host_that_joins_takes_only_what_it_can() -> None:
    driver = Driver(hosts=0)
    driver.tell(has("g", gpu=1))
    driver.admit(on_gpus(40))
    decisions = driver.tell(has("c"))
    tasks = [task for m in decisions for task in m.tasks]
    assert {m.host for m in decisions} == {"c"}
    assert tasks
    assert all(task % 2 for task in tasks)
    queued = {driver.scheduler.schedules[JOB].job.hosts[host]: queue for host, queue in driver.scheduler.schedules[JOB].backlogs.items()}
    assert sum(queue.n_tasks for queue in queued.values()) + 4 + len(tasks) == 40
