"""The grid of instances and clusters: every case has its turn, and the time is shared between the planners."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.plans import grid
from benchmarks.plans.clusters import Cluster
from benchmarks.plans.grid import CLUSTERS, Grid, Work, kept, rounds, run
from benchmarks.plans.heft import heft
from benchmarks.plans.instances import Instance, Task
from benchmarks.plans.scoring import Made, NoPlan, reference_heft

INSTANCES = [Instance(name, (Task("a", 2.0), Task("b", 1.0))) for name in "xyz"]


class Clock:
    """Time passes only while planners plan: a second per plan."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def plan(self, instance: Instance, cluster: Cluster) -> Made:
        self.now += 1.0
        return Made(heft(instance, cluster), 1.0)

    def fail(self, instance: Instance, cluster: Cluster) -> Made:
        self.now += 1.0
        raise NoPlan("over 20 s")


def test_rounds_reach_every_case_once_and_spread_clusters_evenly() -> None:
    cases = [(instance.name, cluster) for instance, cluster in rounds(INSTANCES)]
    assert len(cases) == len(set(cases)) == 3 * 18
    for turn in range(18):
        assert len({cluster for _, cluster in cases[3 * turn : 3 * turn + 3]}) == 3
    assert Counter(cluster for _, cluster in cases) == dict.fromkeys(CLUSTERS, 3)


def test_a_sample_shares_the_time(tmp_path: Path) -> None:
    clock = Clock()
    known = {"fast": clock.plan, "portfolio": clock.plan, "saga:HeftScheduler": clock.plan, "saga:Other": clock.fail}
    found = Grid(known, tmp_path / "lines", clock=clock)
    run(INSTANCES, found, ["fast", "portfolio"], ["saga:HeftScheduler", "saga:Other"], 60.0, clock.now)
    counts = Counter(line["planner"] for line in found.lines)
    assert counts["fast"] == counts["portfolio"] == 15
    one_runner = [line for line in found.lines if line["planner"] == "fast" and line["runners"] == 1]
    assert counts["saga:HeftScheduler"] == counts["saga:Other"] == len(one_runner) > 0
    assert kept(tmp_path / "lines") == found.lines
    assert [line["error"] for line in found.lines if line["planner"] == "saga:Other"] == ["over 20 s"] * counts["saga:Other"]


def test_the_whole_grid_has_no_deadline(tmp_path: Path) -> None:
    clock = Clock()
    found = Grid({"fast": clock.plan}, tmp_path / "lines", clock=clock)
    run(INSTANCES, found, ["fast"], [], float("inf"), clock.now)
    assert len(found.lines) == 3 * 18


def test_lines_that_are_there_are_not_measured_again(tmp_path: Path) -> None:
    clock = Clock()
    first = Grid({"fast": clock.plan}, tmp_path / "lines", clock=clock)
    work = [Work(INSTANCES[0], cluster, "fast") for cluster in CLUSTERS[:3]]
    first.measure(work[:2], 1e9)
    second = Grid({"fast": clock.plan}, tmp_path / "lines", first.lines, clock)
    assert second.measure(work, 1e9) == work
    assert clock.now == 103.0
    assert len(kept(tmp_path / "lines")) == 3


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text('{"instance": "x"}\n{"inst')
    assert kept(path) == [{"instance": "x"}]
    assert kept(tmp_path / "none") == []


def test_the_command_prints_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(grid, "headrace_planners", lambda: {"portfolio": reference_heft})
    specification = {"tasks": [{"id": "a"}, {"id": "b", "parents": ["a"]}], "files": []}
    execution = {"tasks": [{"id": name, "runtimeInSeconds": 1} for name in "ab"]}
    path, out = tmp_path / "flow.json", tmp_path / "folder" / "plans.jsonl"
    path.write_text(json.dumps({"schemaVersion": "1.5", "workflow": {"specification": specification, "execution": execution}}))
    assert grid.main([str(path), "--all", "--no-saga", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "| portfolio | 18 | 0 | 1.000 |" in text
    assert "No plan is better than the portfolio's. Cases: 18." in text
    assert grid.main([str(tmp_path / "none.json"), "--json", str(out)]) == 2
