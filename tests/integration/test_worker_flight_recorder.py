"""The flight recorder on a real cluster: what its hosts recorded is run again by the command, in another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import headrace as hr

WAIT = 60.0


def made(seed: int) -> np.ndarray:
    return np.full(100_000, float(seed))


def total(*arrays: np.ndarray) -> float:
    return float(sum(array.sum() for array in arrays))


def die_once(marker: str) -> int:
    """The first time, the kernel ends the runner under this task."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


def replayed(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace.cli", "replay", "--record", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)


def test_the_records_of_all_hosts_agree_and_one_that_was_changed_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    monkeypatch.setenv("HEADRACE_RECORD", str(folder))
    graph = hr.Graph("recorded")
    parts = [graph.add(made, seed) for seed in range(12)]
    sums = [graph.add(total, *parts[first::3]) for first in range(3)]
    graph.output(graph.add(sum, [*sums, graph.add(die_once, str(tmp_path / "died"))], name="sum"))
    with hr.Cluster.local(hosts=2, runners=2, progress=False) as cluster:
        for _ in range(2):
            assert cluster.submit(graph).results(WAIT) == {"sum": 100_000.0 * sum(range(12)) + 1}
    records = sorted(folder.iterdir())
    assert [path.name for path in records] == ["worker-host-0.record", "worker-host-1.record"]
    for path in records:
        done = replayed(path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"host {path.name[7:13]}, epoch " in done.stdout
        assert "all agree" in done.stdout
    changed = records[0].read_bytes().replace(b"RunnerStarted", b"RunnerStopped", 1)
    records[0].write_bytes(changed)
    done = replayed(records[0])
    assert done.returncode == 1
    assert "Use the release that wrote the record" in done.stderr


def test_the_command_wants_a_job_or_a_record(tmp_path: Path) -> None:
    for arguments in ([], ["job", "--record", "file"]):
        done = subprocess.run(
            [sys.executable, "-m", "headrace.cli", "replay", *arguments], capture_output=True, text=True, timeout=WAIT, check=False
        )
        assert done.returncode == 2
        assert "give a JOB, or --record FILE" in done.stderr
    done = replayed(tmp_path / "missing")
    assert done.returncode == 1
    assert "give a file from the folder HEADRACE_RECORD" in done.stderr
