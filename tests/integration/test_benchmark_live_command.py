"""`python -m benchmarks.live` runs an instance for real, on Headrace and on Dask where that is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.live.__main__ import main
from benchmarks.live.engines import dask_installed


def workflow(path: Path) -> Path:
    """A fork and a join: one task makes two files, two tasks take one each, and a last one takes what they make."""
    tasks = [
        {"id": "a", "outputFiles": ["x", "y"]},
        {"id": "b", "inputFiles": ["x"], "outputFiles": ["z"]},
        {"id": "c", "inputFiles": ["y"], "outputFiles": ["w"]},
        {"id": "d", "inputFiles": ["z", "w"]},
    ]
    specification = {"tasks": tasks, "files": [{"id": name, "sizeInBytes": 4} for name in "xyzw"]}
    execution = {"tasks": [{"id": name, "runtimeInSeconds": 3} for name in "abcd"]}
    path.write_text(json.dumps({"schemaVersion": "1.5", "workflow": {"specification": specification, "execution": execution}}))
    return path


def test_an_instance_is_run_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "lines.json"
    argv = [str(workflow(tmp_path / "fork.json")), "--hosts", "2", "--seconds", "0.4", "--bytes", "4000000", "--json", str(lines)]
    assert main([*argv, "--dask-runs", "1" if dask_installed() else "0"]) == 0
    (line,) = [json.loads(text) for text in lines.read_text().splitlines()]
    assert line["instance"] == "fork"
    assert line["heft"] == pytest.approx(0.3, rel=0.05)
    assert len(line["headrace"]) == 2
    assert all(took >= 0.3 for took in [*line["headrace"], *line["dask"]])
    assert "| fork | 0.30 |" in capsys.readouterr().out
