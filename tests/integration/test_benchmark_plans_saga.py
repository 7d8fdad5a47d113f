"""SAGA's algorithms in their process: what is asked, what is answered, and an end to those that take too long."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from benchmarks.plans.clusters import Cluster
from benchmarks.plans.emitted import Row
from benchmarks.plans.instances import Input, Instance, Task
from benchmarks.plans.saga import PREFIX, Saga, installed, order, planners
from benchmarks.plans.scoring import NoPlan, line

INSTANCE = Instance("pair", (Task("a", 2.0, (10, 30)), Task("b", 1.0, (), (Input(0, 0), Input(0, 1)))))
CLUSTER = Cluster(2, 1, 10.0)

STAND_IN = """
import json, sys, time
print(json.dumps({"algorithms": ["good", "slow", "broken", "dead"]}), flush=True)
for text in sys.stdin:
    algorithm = json.loads(text)["algorithm"]
    if algorithm == "slow":
        time.sleep(100)
    if algorithm == "dead":
        sys.exit()
    placements = {"placements": [[1, 0, 2.0, 3.0], [0, 0, 0.0, 2.0]], "planning_s": 0.5}
    print(json.dumps({"error": "KeyError: 3"} if algorithm == "broken" else placements), flush=True)
"""


@pytest.fixture
def process() -> Iterator[Saga]:
    with Saga(limit=0.5, command=[sys.executable, "-c", STAND_IN]) as process:
        yield process


def test_the_bytes_between_two_tasks_are_added() -> None:
    assert order("X", INSTANCE, CLUSTER) == {
        "algorithm": "X",
        "tasks": [[2.0, []], [1.0, [[0, 40]]]],
        "hosts": 2,
        "bandwidth": 10.0,
    }


def test_a_plan_has_its_rows_in_the_order_of_tasks(process: Saga) -> None:
    process.limit = 60.0
    made = process.plan("good", INSTANCE, CLUSTER)
    assert made.rows == [Row(0, 0, 0, 0.0, 2.0), Row(1, 0, 0, 2.0, 3.0)]
    assert made.planning_s == 0.5


@pytest.mark.parametrize(("algorithm", "message"), [("slow", "over 0.5 s"), ("dead", "its process ended"), ("broken", "KeyError: 3")])
def test_an_algorithm_without_a_plan_does_not_harm_the_next(process: Saga, algorithm: str, message: str) -> None:
    if algorithm != "slow":
        process.limit = 60.0
    with pytest.raises(NoPlan, match=message):
        process.plan(algorithm, INSTANCE, CLUSTER)
    process.limit = 60.0
    assert len(process.plan("good", INSTANCE, CLUSTER).rows) == 2


def test_hosts_of_several_runners_are_not_asked_for(process: Saga) -> None:
    with pytest.raises(NoPlan, match="one task at a time"):
        process.plan("good", INSTANCE, Cluster(2, 4, 10.0))


@pytest.mark.skipif(not installed(), reason="needs the extra `saga`")
def test_saga_plans_a_pair() -> None:
    with Saga() as process:
        found = {name: line(INSTANCE, CLUSTER, name, planner) for name, planner in planners(process).items()}
    assert found[PREFIX + "HeftScheduler"]["makespan"] == pytest.approx(3.0)
    assert not {PREFIX + "BruteForceScheduler", PREFIX + "SMTScheduler", PREFIX + "HybridScheduler"} & found.keys()
    assert sum("error" not in score for score in found.values()) >= 15
