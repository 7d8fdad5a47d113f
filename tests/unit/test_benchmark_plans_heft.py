"""HEFT for comparisons: ranks, insertion and runners, by hand and on random graphs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plans.checker import checked
from benchmarks.plans.clusters import Cluster
from benchmarks.plans.emitted import Row
from benchmarks.plans.heft import heft
from benchmarks.plans.instances import Input, Instance, Task
from benchmarks.plans.records import emitted
from tests.plan_instances import instances


def test_the_longest_task_goes_first() -> None:
    instance = Instance("i", (Task("a", 1.0), Task("b", 3.0), Task("c", 2.0)))
    assert heft(instance, Cluster(2, 1, 1.0)) == [Row(0, 1, 0, 2.0, 3.0), Row(1, 0, 0, 0.0, 3.0), Row(2, 1, 0, 0.0, 2.0)]


def test_a_task_stays_with_its_input_if_sending_takes_longer_than_waiting() -> None:
    tasks = (Task("a", 1.0, (10,)), Task("b", 3.0, (), (Input(0, 0),)), Task("c", 2.0, (), (Input(0, 0),)))
    near = heft(Instance("i", tasks), Cluster(2, 1, bandwidth=2.0))
    far = heft(Instance("i", tasks), Cluster(2, 1, bandwidth=10.0))
    assert [row.host for row in near] == [0, 0, 0]
    assert far[2] == Row(2, 1, 0, 2.0, 4.0)


def test_latency_counts() -> None:
    tasks = (Task("a", 1.0, (10,)), Task("b", 3.0, (), (Input(0, 0),)), Task("c", 2.0, (), (Input(0, 0),)))
    rows = heft(Instance("i", tasks), Cluster(2, 1, bandwidth=10.0, latency=5.0))
    assert [row.host for row in rows] == [0, 0, 0]


def test_a_task_is_inserted_into_a_gap() -> None:
    # Task c waits for 30 bytes from each of a and b, which run on different hosts; d fits before it.
    tasks = (Task("a", 5.0, (30,)), Task("b", 5.0, (30,)), Task("c", 9.0, (), (Input(0, 0), Input(1, 0))), Task("d", 2.0))
    rows = heft(Instance("i", tasks), Cluster(2, 1, bandwidth=10.0))
    assert rows[2] == Row(2, 0, 0, 8.0, 17.0)
    assert rows[3] == Row(3, 0, 0, 5.0, 7.0)


def test_runners_of_one_host_share_data() -> None:
    tasks = (Task("a", 1.0, (10**9,)), Task("b", 3.0, (), (Input(0, 0),)), Task("c", 3.0, (), (Input(0, 0),)))
    rows = heft(Instance("i", tasks), Cluster(2, 2, bandwidth=1.0))
    assert rows[1:] == [Row(1, 0, 0, 1.0, 4.0), Row(2, 0, 1, 1.0, 4.0)]


@given(instances(12), st.integers(1, 4), st.integers(1, 2), st.sampled_from([0.0, 0.5]))
def test_every_plan_passes_the_checker(instance: Instance, hosts: int, runners: int, latency: float) -> None:
    cluster = Cluster(hosts, runners, 10.0, latency)
    plan, execution = checked(emitted(instance, cluster, "heft", heft(instance, cluster)))
    bound = plan.lower_bound()
    assert bound == instance.lower_bound(hosts * runners)
    assert execution.makespan >= bound * (1 - 1e-9)
    assert execution.bytes_moved <= sum(hosts * size for task in instance.tasks for size in task.outputs)
