"""The checker of emitted plans: hand-solved executions, and what makes a plan invalid."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plans import checker
from benchmarks.plans.checker import InvalidPlan, checked, score
from benchmarks.plans.emitted import Row

PLANS = Path(checker.__file__).parent

Tasks = list[tuple[float, list[int], list[tuple[int, int]]]]
"""Seconds, bytes of the outputs, and inputs."""


def record(
    tasks: Tasks, rows: list[Row], hosts: int = 2, runners: int = 1, bandwidth: float = 10.0, latency: float = 0.0
) -> dict[str, Any]:
    return {
        "instance": "test",
        "planner": "hand",
        "tasks": [[number, seconds, outputs, inputs] for number, (seconds, outputs, inputs) in enumerate(tasks)],
        "names": [f"t{number}" for number in range(len(tasks))],
        "hosts": hosts,
        "runners": runners,
        "bandwidth": 10.0,
        "latency": latency,
        "placements": [list(row) for row in rows],
    }


def row(task: int, host: int, start: float, end: float, runner: int = 0) -> Row:
    return Row(task, host, runner, start, end)


PAIR: Tasks = [(2.0, [30], []), (1.0, [], [(0, 0)])]
"""A task whose output of 30 bytes another takes."""


def test_on_one_host_nothing_is_sent() -> None:
    assert score(record(PAIR, [row(0, 0, 0, 2), row(1, 0, 2, 3)])) == {
        "instance": "test",
        "planner": "hand",
        "makespan": 3.0,
        "predicted": 3.0,
        "lower_bound": 3.0,
        "bytes_moved": 0.0,
        "peak_memory": 30.0,
    }


def test_an_output_is_sent_when_it_is_made_after_the_latency() -> None:
    plan, execution = checked(record(PAIR, [row(0, 0, 0, 2), row(1, 1, 2, 3)], latency=0.5))
    assert execution.starts == pytest.approx((0.0, 2 + 0.5 + 3))
    assert execution.makespan == pytest.approx(6.5)
    assert execution.bytes_moved == 30
    assert plan.makespan == 3.0


def test_one_host_gets_an_output_once_for_all_its_tasks() -> None:
    tasks: Tasks = [*PAIR, (1.0, [], [(0, 0)])]
    _, execution = checked(record(tasks, [row(0, 0, 0, 2), row(1, 1, 5, 6, 0), row(2, 1, 5, 6, 1)], runners=2))
    assert execution.starts == pytest.approx((0.0, 5.0, 5.0))
    assert execution.bytes_moved == 30


def test_transfers_share_the_link_of_their_sender() -> None:
    # Two outputs of 30 bytes leave host 0 at 2 s with 5 B/s each. Both are there at 8 s.
    tasks: Tasks = [(2.0, [30, 30], []), (1.0, [], [(0, 0)]), (1.0, [], [(0, 1)])]
    _, execution = checked(record(tasks, [row(0, 0, 0, 2), row(1, 1, 5, 6), row(2, 2, 5, 6)], hosts=3))
    assert execution.starts == pytest.approx((0.0, 8.0, 8.0))


def test_transfers_share_the_link_of_their_receiver() -> None:
    # 20 bytes leave host 0 at 1 s, and 20 bytes leave host 1 at 2 s. From 2 s to 4 s both have 5 B/s; then the second has 10 B/s.
    tasks: Tasks = [(1.0, [20], []), (2.0, [20], []), (1.0, [], [(0, 0)]), (1.0, [], [(1, 0)])]
    rows = [row(0, 0, 0, 1), row(1, 1, 0, 2), row(2, 2, 3, 4), row(3, 2, 4, 5)]
    _, execution = checked(record(tasks, rows, hosts=3))
    assert execution.starts == pytest.approx((0.0, 0.0, 4.0, 5.0))
    assert execution.makespan == pytest.approx(6.0)


def test_a_runner_keeps_its_order_even_if_a_later_task_could_start() -> None:
    tasks: Tasks = [*PAIR, (4.0, [], [])]
    _, execution = checked(record(tasks, [row(0, 0, 0, 2), row(1, 1, 2, 3), row(2, 1, 3, 7)]))
    assert execution.starts == pytest.approx((0.0, 5.0, 6.0))


def test_a_task_that_runs_twice_is_not_sent_to_the_host_that_made_it_again() -> None:
    tasks: Tasks = [(2.0, [30], []), (1.0, [], [(0, 0)]), (1.0, [], [(0, 0)])]
    rows = [row(0, 0, 0, 2), row(1, 0, 2, 3), row(2, 1, 2, 3), row(0, 1, 0, 2)]
    _, execution = checked(record(tasks, rows))
    assert execution.starts == (0.0, 2.0, 2.0, 0.0)
    assert (execution.makespan, execution.bytes_moved) == (3.0, 0.0)


def test_a_third_host_gets_an_output_from_the_copy_that_ends_first() -> None:
    # The copy on host 1 ends at 7 s, long after host 2 has the output from host 0.
    tasks: Tasks = [(2.0, [30], []), (5.0, [], []), (1.0, [], [(0, 0)])]
    rows = [row(0, 0, 0, 2), row(1, 1, 0, 5), row(0, 1, 5, 7), row(2, 2, 2, 3)]
    _, execution = checked(record(tasks, rows, hosts=3))
    assert execution.starts == pytest.approx((0.0, 0.0, 5.0, 5.0))
    assert execution.bytes_moved == 30


def test_memory_is_freed_after_the_last_use() -> None:
    # A chain on one host holds two outputs at once: the input of the running task, and its own. The last output is a result.
    tasks: Tasks = [(1.0, [30], []), (1.0, [40], [(0, 0)]), (1.0, [20], [(1, 0)])]
    _, execution = checked(record(tasks, [row(0, 0, 0, 1), row(1, 0, 1, 2), row(2, 0, 2, 3)]))
    assert execution.peak_memory == (70.0, 0.0)


def test_a_sender_holds_an_output_until_it_is_sent_and_a_receiver_from_then_on() -> None:
    # Task 2 makes 50 bytes on host 0 from 2 s to 3 s, while task 0's 30 bytes are on their way to host 1 until 5 s.
    tasks: Tasks = [(2.0, [30], []), (1.0, [], [(0, 0)]), (1.0, [50], [])]
    _, execution = checked(record(tasks, [row(0, 0, 0, 2), row(2, 0, 2, 3), row(1, 1, 5, 6)]))
    assert execution.peak_memory == (80.0, 30.0)


def test_tasks_may_be_listed_in_any_order() -> None:
    tasks: Tasks = [(1.0, [], [(1, 0)]), (2.0, [30], [])]
    assert score(record(tasks, [row(0, 0, 2, 3), row(1, 0, 0, 2)]))["lower_bound"] == 3.0


def test_the_lower_bound_is_the_work_or_the_critical_path() -> None:
    independent: Tasks = [(3.0, [], []), (2.0, [], []), (3.0, [], [])]
    rows = [row(0, 0, 0, 3), row(1, 1, 0, 2), row(2, 1, 2, 5)]
    assert score(record(independent, rows))["lower_bound"] == 4.0


@pytest.mark.parametrize(
    ("tasks", "rows", "message"),
    [
        (PAIR, [row(0, 0, 0, 2)], "task t1 is placed nowhere"),
        (PAIR, [row(0, 0, 0, 2), row(1, 2, 2, 3)], "task t1: there is no host 2 with a runner 0"),
        (PAIR, [row(0, 0, 0, 2), row(1, 1, 1, 2)], "task t1 starts before its input, task t0, has ended"),
        (PAIR, [row(0, 0, 0, 2), row(1, 1, 2, 4)], "task t1 is placed for 2 s and takes 1 s"),
        (PAIR, [row(0, 0, 0, 2), row(0, 0, 2, 4), row(1, 1, 2, 3)], "task t0 is placed twice on host 0"),
        ([(2.0, [], []), (2.0, [], [])], [row(0, 0, 0, 2), row(1, 0, 1, 3)], "tasks t0 and t1 run at the same time on host 0, runner 0"),
        ([(1.0, [], [(5, 0)])], [row(0, 0, 0, 1)], "task t0: there is no task 5"),
        (PAIR, [row(7, 0, 0, 1)], "placement of task 7: there is no task 7"),
        ([(1.0, [], []), (1.0, [], [(0, 0)])], [row(0, 0, 0, 1), row(1, 0, 1, 2)], "task t1: there is no output 0 of task t0"),
        ([(1.0, [1], [(1, 0)]), (1.0, [1], [(0, 0)])], [row(0, 0, 0, 1), row(1, 0, 1, 2)], "depend on one another in a circle"),
    ],
    ids=["missing", "no host", "too early", "wrong length", "twice", "overlap", "no input", "no task", "no output", "circle"],
)
def test_an_invalid_plan_is_refused(tasks: Tasks, rows: list[Row], message: str) -> None:
    with pytest.raises(InvalidPlan, match=message):
        checked(record(tasks, rows))


def test_a_plan_that_waits_for_itself_is_refused() -> None:
    # Host 1 makes task 0 again, but only after the task that takes it.
    rows = [row(0, 0, 0, 2), row(1, 1, 5, 6), row(0, 1, 6, 8)]
    with pytest.raises(InvalidPlan, match="task t1 waits forever on host 1, runner 0, for output 0 of task t0"):
        checked(record(PAIR, rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hosts": None}, "hosts has None where an index belongs"),
        ({"hosts": 0}, "hosts is 0"),
        ({"bandwidth": 0}, "bandwidth is 0"),
        ({"latency": -1}, "latency is -1, not a number of 0 or more"),
        ({"placements": [[0, 0]]}, "wrong type or length"),
        ({"tasks": [[0, 2.0, [30], []], [0, 1.0, [], [[0, 0]]]]}, "task 1 has the id 0: give each task a number or text of its own"),
        ({"names": ["a"]}, "wrong type or length"),
        ({"names": None, "tasks": [["a", 1.0, [], [[0]]]]}, "wrong type or length"),
        ({"tasks": 3}, "wrong type or length"),
        ({"placements": [[0, 0, 0, float("nan"), 1]]}, "start is nan"),
    ],
)
def test_a_malformed_record_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPlan, match=message):
        checked(record(PAIR, [row(0, 0, 0, 2), row(1, 0, 2, 3)]) | change)


def test_tasks_may_have_texts_as_ids() -> None:
    given = record(PAIR, []) | {
        "names": None,
        "tasks": [["b", 1.0, [], [["a", 0]]], ["a", 2.0, [30], []]],
        "placements": [["a", 0, 0, 0, 2], ["b", 0, 0, 2, 3]],
    }
    plan, execution = checked(given)
    assert [task.name for task in plan.tasks] == ["b", "a"]
    assert execution.makespan == 3.0


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidPlan, match="field 'tasks' is missing"):
        checked({"instance": "x"})


def test_the_command_prints_a_line_for_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(record(PAIR, [row(0, 0, 0, 2), row(1, 0, 2, 3)])))
    bad.write_text("{")
    assert checker.main([str(good)]) == 0
    assert json.loads(capsys.readouterr().out)["makespan"] == 3.0
    assert checker.main([str(good), str(bad), str(tmp_path / "none.json")]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in line for line in lines] == [False, True, True]


def test_the_checker_imports_nothing_of_headrace() -> None:
    for name in ("checker", "emitted", "execution", "fair_links"):
        for node in ast.walk(ast.parse((PLANS / f"{name}.py").read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(found.startswith("headrace") for found in names)
