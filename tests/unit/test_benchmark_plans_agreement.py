"""Headrace's simulator and the checker, which share no code, agree on what becomes of a plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plans.checker import checked
from benchmarks.plans.clusters import Cluster
from benchmarks.plans.headrace_planners import problem_of, rows_of, topology_of
from benchmarks.plans.instances import Input, Instance, Task
from benchmarks.plans.records import emitted
from headrace.scheduler.planners.plan import Placement
from headrace.scheduler.planners.simulate import simulate
from tests.plan_instances import instances


@st.composite
def placements(draw: st.DrawFn, n_tasks: int, hosts: int) -> Placement:
    """Random hosts and copies, in a random order."""
    host = draw(st.lists(st.integers(0, hosts - 1), min_size=n_tasks, max_size=n_tasks))
    elsewhere = st.tuples(st.integers(0, n_tasks - 1), st.integers(0, hosts - 1)).filter(lambda copy: host[copy[0]] != copy[1])
    copies = draw(st.lists(elsewhere, unique=True, max_size=4)) if hosts > 1 else []
    order = draw(st.permutations(range(n_tasks + len(copies))))
    return Placement.of(host, order[:n_tasks], [(*copy, order[n_tasks + number]) for number, copy in enumerate(copies)])


@given(st.data(), instances(14), st.integers(1, 4), st.integers(1, 2), st.sampled_from([0.0, 0.5]))
def test_the_simulator_predicts_what_the_checker_finds(
    data: st.DataObject, instance: Instance, hosts: int, runners: int, latency: float
) -> None:
    cluster = Cluster(hosts, runners, 10.0, latency)
    placement = data.draw(placements(len(instance.tasks), hosts))
    plan = simulate(problem_of(instance, cluster), placement, "random")
    read, execution = checked(emitted(instance, cluster, "random", rows_of(plan)))
    assert execution.starts == pytest.approx([row.start for row in read.rows], rel=1e-6, abs=1e-9)
    assert execution.makespan == pytest.approx(plan.makespan, rel=1e-6, abs=1e-9)
    assert execution.bytes_moved == pytest.approx(plan.bytes_moved)
    # They may keep a result on different hosts if several make it, and run tasks that take no time in another order.
    if not plan.n_copies and all(task.seconds for task in instance.tasks):
        assert execution.peak_memory == pytest.approx(plan.peak_memory.tolist())


def test_the_topology_of_an_instance() -> None:
    tasks = (Task("a", 1.0, (10, 20, 30)), Task("b", 2.0), Task("c", 3.0, (40,), (Input(0, 2), Input(0, 0))))
    problem = problem_of(Instance("i", tasks), Cluster(2, 3, 1e8, 0.25))
    shape = topology_of(Instance("i", tasks))
    assert (shape.n_tasks, shape.n_datasets) == (3, 4)
    assert shape.first_output.tolist() == [0, 3, 3, 4]
    assert shape.input_start.tolist() == [0, 0, 0, 2]
    assert shape.inputs.tolist() == [2, 0]
    assert shape.producer.tolist() == [0, 0, 0, 2]
    assert shape.is_output.tolist() == [False, True, False, True]
    assert problem.nbytes.tolist() == [10.0, 20.0, 30.0, 40.0]
    assert problem.seconds.tolist() == [1.0, 2.0, 3.0]
    assert [(host.runners, host.bandwidth) for host in problem.hosts] == [(3, 1e8), (3, 1e8)]
    assert problem.latency == 0.25


def test_a_transfer_that_starts_when_another_ends_takes_its_time() -> None:
    # Host 1 sends 10 bytes to host 0 from 1.5 s to 2.5 s. At 2.5 s host 0 starts to send 20 bytes to host 1.
    tasks = (Task("a", 1.0, (10,)), Task("b", 2.0, (20,)), Task("c", 1.0, (), (Input(0, 0),)), Task("d", 1.0, (), (Input(1, 0),)))
    instance, cluster = Instance("exchange", tasks), Cluster(2, 1, 10.0, latency=0.5)
    plan = simulate(problem_of(instance, cluster), Placement.of([1, 0, 0, 1], range(4)), "hand")
    assert plan.start.tolist() == [0.0, 0.0, 2.5, 4.5]
    _, execution = checked(emitted(instance, cluster, "hand", rows_of(plan)))
    assert execution.makespan == plan.makespan == 5.5
