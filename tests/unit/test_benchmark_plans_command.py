"""`python -m benchmarks.plans`: a JSON line for each instance and planner, and plans that the checker reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.plans import checker
from benchmarks.plans.__main__ import main
from headrace.scheduler.planners.registry import PLANNERS

FIELDS = ["instance", "planner", "hosts", "runners", "bandwidth", "makespan", "lower_bound", "bytes_moved", "peak_memory", "planning_s"]


@pytest.fixture
def workflow(tmp_path: Path) -> str:
    """A task makes two files, and two tasks take one each."""
    tasks = [
        {"id": "a", "outputFiles": ["x", "y"]},
        {"id": "b", "inputFiles": ["x"]},
        {"id": "c", "inputFiles": ["y"]},
    ]
    specification = {"tasks": tasks, "files": [{"id": name, "sizeInBytes": 10**8} for name in "xy"]}
    execution = {"tasks": [{"id": name, "runtimeInSeconds": 4} for name in "abc"]}
    path = tmp_path / "fork.json"
    path.write_text(json.dumps({"schemaVersion": "1.5", "workflow": {"specification": specification, "execution": execution}}))
    return str(path)


def test_each_planner_has_a_line_and_a_plan(workflow: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([workflow, "--hosts", "2", "--bandwidth", "100MB/s", "--json", "--emit", str(tmp_path / "plans")]) == 0
    output = capsys.readouterr()
    lines = [json.loads(text) for text in output.out.splitlines()]
    assert [line["planner"] for line in lines] == [*PLANNERS, "reference-heft"]
    assert all(list(line) == FIELDS for line in lines)
    best = next(line for line in lines if line["planner"] == "portfolio")
    assert (best["instance"], best["lower_bound"]) == ("fork", 8.0)
    assert best["makespan"] == min(line["makespan"] for line in lines)
    assert output.err == ""
    plans = sorted((tmp_path / "plans").iterdir())
    assert len(plans) == len(lines)
    assert checker.main([str(plan) for plan in plans]) == 0
    checked = {line["planner"]: line["makespan"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert checked == {line["planner"]: line["makespan"] for line in lines}


def test_one_planner_and_a_table(workflow: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([workflow, "--planner", "heft", "--runners", "2"]) == 0
    output = capsys.readouterr()
    assert [json.loads(text)["planner"] for text in output.out.splitlines()] == ["heft"]
    assert "| heft | 1 |" in output.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--planner", "none"], "no planner none: choose from"),
        (["--instance", "none"], "no instance none: the files have fork"),
    ],
)
def test_wrong_names_are_refused(workflow: str, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([workflow, *argv]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--hosts", "0"], ["--runners", "x"], ["--bandwidth", "fast"]])
def test_wrong_numbers_are_refused(workflow: str, argv: list[str]) -> None:
    with pytest.raises(SystemExit):
        main([workflow, *argv])
