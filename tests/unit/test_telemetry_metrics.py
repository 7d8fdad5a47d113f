"""The metrics of services."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headrace.client.services import metrics_address
from headrace.controller.metrics import ControllerCounts
from headrace.scheduler.metrics import SchedulerCounts
from headrace.telemetry import OTHER, Timing, Timings, gauge, labelled
from headrace.worker.agent.metrics import MOST_REASONS
from headrace.worker.agent.metrics import Counts as Happened
from headrace_schemas import Assign, Ended, Needed, Plan, Purge


def test_a_timing_adds_up() -> None:
    timing = Timing()
    timing.add(3.0)
    timing.add(5.0, 10, longest=1.5)
    assert (timing.count, timing.total, timing.longest) == (11, 8.0, 3.0)


def test_timings_have_at_most_so_many_names() -> None:
    timings = Timings(3)
    for name in ("a", "b", "a", "c", "d", "e", "b"):
        timings.of(name).add(1.0)
    assert {name: timing.count for name, timing in timings.items()} == {"a": 2, "b": 2, "c": 1, OTHER: 2}


def test_labels_of_all_samples() -> None:
    [family] = labelled([gauge("g", "help", {"x": 1, "y": 2}, "kind")], host="h")
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({"host": "h", "kind": "x"}, 1),
        ({"host": "h", "kind": "y"}, 2),
    ]


def test_reasons_of_failures_are_bounded() -> None:
    counts = Happened()
    for number in range(100):
        counts.failed(f"reason {number}")
    counts.failed("raised")
    assert counts.failures["raised"] == 1
    assert counts.failures[OTHER] > 50
    assert len(counts.failures) == MOST_REASONS + 1


def test_decisions_of_the_controller() -> None:
    counts = ControllerCounts()
    counts.add_decision(Ended(at=1, term=1, job="j", state="failed"), 2.0)
    counts.add_decision(Needed(at=1, term=1, job="j", tasks=[1, 2], attempts=[1, 1]), 2.0)
    counts.add_decision(Purge(at=1, term=1, job="j", host="h", epoch=1, datasets=[1, 2, 3]), 2.0)
    assert (counts.jobs["failed"].count, counts.jobs["failed"].total, counts.jobs["done"].count) == (1, 2.0, 0)
    assert (counts.needed, counts.purged) == (2, 3)


def test_a_plan_in_parts_is_one_plan() -> None:
    counts = SchedulerCounts()
    parts = [
        Plan(
            at=1,
            term=1,
            job="j",
            planner="plan",
            part=part,
            parts=2,
            hosts=["h"],
            epochs=[1],
            first=part,
            lengths=[2],
            placed=[0],
            tasks=[2 * part, 2 * part + 1],
        )
        for part in range(2)
    ]
    assign = Assign(
        at=1, term=1, job="j", host="h", epoch=1, chains=[0], lengths=[2], tasks=[0, 1], sources=[], hosts=["h"], addresses=[""]
    )
    counts.add_decisions([*parts, assign], 0.5)
    counts.add_decisions([assign], 0.25)
    assert (counts.planning.count, counts.planning.total, counts.planned) == (1, 0.5, 4)
    assert (counts.deciding.count, counts.deciding.total) == (2, 0.75)
    assert (counts.assignments, counts.assigned) == (2, 4)


@pytest.mark.parametrize(("given", "taken"), [("", ""), ("127.0.0.1:0", "127.0.0.1:0"), ("0.0.0.0:9464", "0.0.0.0:0"), ("9464", "9464")])
def test_processes_of_one_machine_take_ports_of_their_own(given: str, taken: str) -> None:
    assert metrics_address(given) == taken


def test_without_metrics_the_library_of_prometheus_is_not_loaded() -> None:
    modules = ", ".join(f"headrace.{name}.service" for name in ("controller", "scheduler", "publisher", "worker"))
    program = f"import sys, headrace.bus, {modules}; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
